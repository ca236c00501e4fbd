// GET, HEAD and DELETE of blobs (distribution-spec, "Pulling blobs", "Deleting Blobs").
#include <fmt/core.h>

#include "registry/server/byte_range.h"
#include "registry/server/service.h"

namespace corten::registry::serving {

Answer unknown_blob(const std::string& digest) {
  return refuse(404, "BLOB_UNKNOWN", "blob unknown to registry", digest);
}

std::unique_ptr<Call> Service::get_blob(const RequestHead& head, const std::string& repository,
                                        const std::string& text) {
  const std::optional<ContentDigest> digest = ContentDigest::parse(text);
  if (!digest) return answer_now(refuse(400, "DIGEST_INVALID", "invalid digest", text));
  if (upstream_ && !tree_.exists(Tree::link_path(repository, *digest)))
    return answer_with([this, head, repository, digest](Reply reply) {
      join_flight(head, repository, *digest, std::move(reply));
    });
  return answer_with(
      [answer = blob_answer(head, repository, *digest)](const Reply& reply) { reply(answer); });
}

Answer Service::blob_answer(const RequestHead& head, const std::string& repository,
                            const ContentDigest& digest) {
  // Who asks whether it is there relies on it; who reads it does not.
  const std::string text = digest.to_string();
  const bool is_there = head.method == "HEAD" ? use_blob(repository, digest)
                                              : tree_.exists(Tree::link_path(repository, digest));
  if (!is_there) return unknown_blob(text);
  std::optional<OpenedFile> content = tree_.open(Tree::content_path(digest));
  if (!content) return unknown_blob(text);
  return content_answer(head, digest, std::make_shared<const UniqueFd>(std::move(content->fd)),
                        content->size);
}

Answer Service::content_answer(const RequestHead& head, const ContentDigest& digest,
                               std::shared_ptr<const UniqueFd> file, uint64_t size) const {
  const std::string text = digest.to_string();
  const std::string tag = "\"" + text + "\"";
  Answer answer{200,
                {{"Content-Type", "application/octet-stream"},
                 {"Docker-Content-Digest", text},
                 {"ETag", tag},
                 {"Accept-Ranges", "bytes"},
                 {"Cache-Control", "max-age=31536000, immutable"}}};
  if (head.field("If-None-Match") == tag) {
    answer.status = 304;
    return answer;
  }
  RangeRequest range;
  if (const std::string_view condition = head.field("If-Range"); condition.empty() || condition == tag)
    range = parse_range(head.field("Range"), size);
  if (range.kind == RangeRequest::Kind::kUnsatisfied) {
    Answer refused = refuse(416, "SIZE_INVALID", "the range is not within the blob");
    refused.fields.emplace_back("Content-Range", fmt::format("bytes */{}", size));
    return refused;
  }
  ByteRange part{0, size};
  if (range.kind == RangeRequest::Kind::kPart) {
    part = range.part;
    answer.status = 206;
    answer.fields.emplace_back("Content-Range",
                               fmt::format("bytes {}-{}/{}", part.begin, part.end - 1, size));
  }
  answer.file = FileBody{std::move(file), part.begin, part.size()};
  return answer;
}

// The repository's link alone goes: other repositories may have the blob too; the collector takes the
// contents.
std::unique_ptr<Call> Service::delete_blob(const std::string& repository, const std::string& text) {
  const std::optional<ContentDigest> digest = ContentDigest::parse(text);
  if (!digest) return answer_now(refuse(400, "DIGEST_INVALID", "invalid digest", text));
  const std::string link = Tree::link_path(repository, *digest);
  if (!tree_.exists(link)) return answer_now(unknown_blob(text));
  return answer_with([this, link](Reply reply) {
    commit({Change::remove(link)}, Answer{202, {}}, std::move(reply));
  });
}

}  // namespace corten::registry::serving
