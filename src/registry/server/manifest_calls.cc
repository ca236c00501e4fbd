// GET, HEAD, PUT and DELETE of manifests (distribution-spec, "Pulling manifests", "Pushing Manifests",
// "Deleting tags", "Deleting Manifests").
#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "oci/media_type.h"
#include "oci/reference.h"
#include "registry/remote.h"
#include "registry/server/flight.h"
#include "registry/server/manifest_facts.h"
#include "registry/server/service.h"
#include "registry/server/stored_manifest.h"

namespace corten::registry::serving {

namespace {

Answer unknown_manifest(const std::string& reference) {
  return refuse(404, "MANIFEST_UNKNOWN", "manifest unknown to registry", reference);
}

bool is_digest_like(const std::string& reference) {
  return reference.find(':') != std::string::npos;
}

Answer too_big() {
  return refuse(413, "SIZE_INVALID", fmt::format("a manifest has at most {} bytes", kMaxManifest));
}

}  // namespace

std::string encode_manifest(std::string_view media_type, std::string_view bytes) {
  std::string encoded(media_type);
  encoded += '\n';
  encoded += bytes;
  return encoded;
}

std::optional<StoredManifest> read_manifest(const Tree& tree, const std::string& repository,
                                            const ContentDigest& digest) {
  std::optional<std::string> bytes = tree.read(Tree::manifest_path(repository, digest), kMaxManifest + 1024);
  if (!bytes) return std::nullopt;
  const size_t end = bytes->find('\n');
  if (end == std::string::npos || !oci::is_valid_media_type(std::string_view(*bytes).substr(0, end)))
    fail(ErrorCode::kCorrupt, "{}: manifest {} has no media type", repository, digest.to_string());
  StoredManifest stored{digest, bytes->substr(0, end), {}};
  bytes->erase(0, end + 1);
  stored.bytes = std::move(*bytes);
  return stored;
}

std::optional<ContentDigest> read_tag(const Tree& tree, const std::string& repository,
                                      const std::string& tag) {
  const std::optional<std::string> text = tree.read(Tree::tag_path(repository, tag), 1024);
  return text ? ContentDigest::parse(trim(*text)) : std::nullopt;
}

std::unique_ptr<Call> Service::get_manifest(const RequestHead& head, const std::string& repository,
                                            const std::string& reference) {
  const std::optional<ContentDigest> digest = ContentDigest::parse(reference);
  if (!digest && is_digest_like(reference))
    return answer_now(refuse(400, "DIGEST_INVALID", "invalid digest", reference));
  if (!digest && may_be_in_store(repository, reference))
    return answer_with([this, head, repository, reference](Reply reply) {
      run_on(importers_, std::move(reply), [this, head, repository, reference] {
        bring_image(std::string(head.field("Host")), repository, reference);
        return manifest_answer(head, repository, reference, std::nullopt);
      });
    });
  const bool may_be_tag = !digest && oci::is_valid_tag(reference);
  if (upstream_ && (digest ? !tree_.exists(Tree::manifest_path(repository, *digest)) : may_be_tag))
    return answer_with([this, head, repository, reference, digest](Reply reply) {
      run_on(fetchers_, std::move(reply), [this, head, repository, reference, digest] {
        digest ? fetch_manifest(repository, *digest) : fetch_tag(repository, reference);
        return manifest_answer(head, repository, reference, digest);
      });
    });
  return answer_with([answer = manifest_answer(head, repository, reference, digest)](
                         const Reply& reply) mutable { reply(std::move(answer)); });
}

Answer Service::manifest_answer(const RequestHead& head, const std::string& repository,
                                const std::string& reference, const std::optional<ContentDigest>& given) {
  std::optional<ContentDigest> digest = given;
  if (!digest && oci::is_valid_tag(reference)) digest = read_tag(tree_, repository, reference);
  std::optional<StoredManifest> stored;
  if (digest) stored = read_manifest(tree_, repository, *digest);
  if (!stored) {
    if (!tree_.has_repository(repository))
      return refuse(404, "NAME_UNKNOWN", "repository name not known to registry", repository);
    return unknown_manifest(reference);
  }
  const std::string text = digest->to_string(), tag = "\"" + text + "\"";
  Answer answer{200,
                {{"Content-Type", stored->media_type}, {"Docker-Content-Digest", text}, {"ETag", tag}},
                std::move(stored->bytes)};
  if (!given && tree_.exists(Tree::origin_path(repository, reference)))
    answer.fields.emplace_back(std::string(kLentField), "store");
  if (head.field("If-None-Match") == tag) {
    answer.status = 304;
    answer.body.clear();
  }
  return answer;
}

class ManifestPut : public Call {
 public:
  ManifestPut(Service& service, std::string media_type, std::string repository,
              std::optional<ContentDigest> digest, std::vector<std::string> tags)
      : service_(service),
        media_type_(std::move(media_type)),
        repository_(std::move(repository)),
        digest_(std::move(digest)),
        tags_(std::move(tags)) {}

  std::optional<Answer> on_body(std::string_view bytes) override {
    if (body_.size() + bytes.size() > kMaxManifest) return too_big();
    body_ += bytes;
    return std::nullopt;
  }

  void on_end(Reply reply) override {
    const ContentDigest found = ContentDigest::of(digest_ ? digest_->algorithm() : Algorithm::kSha256, body_);
    if (digest_ && found != *digest_)
      return reply(refuse(400, "DIGEST_INVALID", "provided digest did not match uploaded content",
                          found.to_string() + " came"));
    std::vector<Change> changes;
    Answer answer = service_.store_manifest(media_type_, repository_, found, tags_, body_, changes);
    if (answer.status != 201) return reply(std::move(answer));
    Change& manifest = changes.front();
    manifest.taken = Taken::take(service_.usage_, manifest.data.size(), service_.tree_.exists(manifest.path));
    if (!manifest.taken) return reply(refuse(413, "DENIED", "the registry is full (--max-size)"));
    if (digest_ && !tags_.empty()) answer.fields.emplace_back("OCI-Tag", join(tags_, ", "));
    service_.commit(std::move(changes), std::move(answer), std::move(reply));
  }

 private:
  Service& service_;
  const std::string media_type_, repository_;
  const std::optional<ContentDigest> digest_;
  const std::vector<std::string> tags_;
  std::string body_;
};

std::unique_ptr<Call> Service::put_manifest(const RequestHead& head, const std::string& repository,
                                            const std::string& reference) {
  if (head.content_length.value_or(0) > kMaxManifest) return answer_now(too_big());
  const std::optional<ContentDigest> digest = ContentDigest::parse(reference);
  if (!digest && is_digest_like(reference))
    return answer_now(refuse(400, "DIGEST_INVALID", "invalid digest", reference));
  std::vector<std::string> tags = digest ? head.target.query_values("tag") : std::vector{reference};
  if (tags.size() > kMaxTags)
    return answer_now(
        refuse(414, "TOOMANYREQUESTS", fmt::format("at most {} tags are taken in one push", kMaxTags)));
  for (const std::string& tag : tags)
    if (!oci::is_valid_tag(tag)) return answer_now(refuse(400, "TAG_INVALID", "invalid tag", tag));
  // Parameters of the type are not kept ("The registry SHOULD ignore parameters on the Content-Type header").
  const std::string_view field = head.field("Content-Type");
  std::string media_type(trim(field.substr(0, field.find(';'))));
  if (!media_type.empty() && !oci::is_valid_media_type(media_type))
    return answer_now(refuse(400, "MANIFEST_INVALID", "Content-Type is no media type", media_type));
  return std::make_unique<ManifestPut>(*this, std::move(media_type), repository, digest, std::move(tags));
}

Answer Service::store_manifest(std::string_view media_type, const std::string& repository,
                               const ContentDigest& digest, const std::vector<std::string>& tags,
                               std::string_view body, std::vector<Change>& changes) {
  ManifestFacts facts;
  try {
    facts = read_manifest_facts(body, media_type);
  } catch (const Error& error) {
    return refuse(400, "MANIFEST_INVALID", "manifest invalid", error.what());
  }
  if (std::optional<Answer> refusal = check_references(repository, facts)) return std::move(*refusal);
  const std::string text = digest.to_string();
  Answer answer{
      201,
      {{"Location", fmt::format("/v2/{}/manifests/{}", repository, text)}, {"Docker-Content-Digest", text}}};
  changes.push_back(
      Change::put(Tree::manifest_path(repository, digest), encode_manifest(facts.media_type, body)));
  if (facts.subject) {
    changes.push_back(Change::put(Tree::referrer_path(repository, *facts.subject, digest),
                                  referrer_descriptor(facts, digest, body.size()).dump()));
    answer.fields.emplace_back("OCI-Subject", facts.subject->to_string());
  }
  for (const std::string& tag : tags) {
    changes.push_back(Change::put(Tree::tag_path(repository, tag), text));
    // From now on the store's image of that name does not count.
    if (options_.images) changes.push_back(Change::remove(Tree::origin_path(repository, tag)));
  }
  return answer;
}

// Blobs must be here, or an image would be there that nobody can pull. The manifests of an index need not:
// sparse indexes (some platforms of many, copied) are of use.
std::optional<Answer> Service::check_references(const std::string& repository, const ManifestFacts& facts) {
  Json::Array errors;
  for (const ContentDigest& digest : facts.blobs)
    if (errors.size() < 10 && !use_blob(repository, digest))
      errors.push_back(Json::object({{"code", "MANIFEST_BLOB_UNKNOWN"},
                                     {"message", "manifest references a blob unknown to registry"},
                                     {"detail", digest.to_string()}}));
  if (errors.empty()) return std::nullopt;
  Answer answer = json_answer(Json::object({{"errors", Json(std::move(errors))}}).dump());
  answer.status = 400;
  return answer;
}

std::unique_ptr<Call> Service::delete_manifest(const std::string& repository, const std::string& reference) {
  const std::optional<ContentDigest> digest = ContentDigest::parse(reference);
  if (!digest && is_digest_like(reference))
    return answer_now(refuse(400, "DIGEST_INVALID", "invalid digest", reference));
  const std::string path =
      digest ? Tree::manifest_path(repository, *digest) : Tree::tag_path(repository, reference);
  if ((!digest && !oci::is_valid_tag(reference)) || !tree_.exists(path))
    return answer_now(tree_.has_repository(repository)
                          ? unknown_manifest(reference)
                          : refuse(404, "NAME_UNKNOWN", "repository name not known to registry", repository));
  if (!digest)
    return answer_with([this, path](Reply reply) {
      commit({Change::remove(path)}, Answer{202, {}}, std::move(reply));
    });
  return answer_with([this, repository, digest](Reply reply) {
    on_worker(std::move(reply), [this, repository, digest] { return remove_manifest(repository, *digest); });
  });
}

// With the tags that name it, and its entry among the referrers of its subject. Of several requests one
// removes it, and gives its bytes back.
Answer Service::remove_manifest(const std::string& repository, const ContentDigest& digest) {
  const Flight flight(*this, repository + "@" + digest.to_string());
  journal_.settle();  // or a tag that could not be made yet would come later, and name nothing
  const std::optional<StoredManifest> stored = read_manifest(tree_, repository, digest);
  if (!stored) return unknown_manifest(digest.to_string());
  std::vector<Change> changes{Change::remove(Tree::manifest_path(repository, digest))};
  for (const std::string& tag : tree_.names(Tree::repository_path(repository, "_tags")))
    if (read_tag(tree_, repository, tag) == digest)
      changes.push_back(Change::remove(Tree::tag_path(repository, tag)));
  const ManifestFacts facts = read_manifest_facts(stored->bytes, stored->media_type);
  if (facts.subject)
    changes.push_back(Change::remove(Tree::referrer_path(repository, *facts.subject, digest)));
  journal_.commit_now(std::move(changes));
  usage_.give_back(encode_manifest(stored->media_type, stored->bytes).size());
  return Answer{202, {}};
}

}  // namespace corten::registry::serving
