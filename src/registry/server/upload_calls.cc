// Uploads of blobs (distribution-spec, "Pushing blobs", "Mounting a blob from another repository", "Cancel a
// blob upload").
#include <fmt/core.h>

#include "base/error.h"
#include "oci/reference.h"
#include "registry/server/byte_range.h"
#include "registry/server/service.h"

namespace corten::registry::serving {

namespace {

Answer unknown_upload(const std::string& id) {
  return refuse(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry", id);
}

Answer taken_over() {
  return refuse(409, "BLOB_UPLOAD_INVALID", "another request goes on with this upload");
}

Answer full() {
  return refuse(413, "DENIED", "the registry is full (--max-size)");
}

Answer wrong_digest(const ContentDigest& said, const ContentDigest& found) {
  return refuse(400, "DIGEST_INVALID", "provided digest did not match uploaded content",
                said.to_string() + " was said, " + found.to_string() + " came");
}

// An upload without bytes has "0-0", as docker-registry has it: the form has no word for nothing.
Answer about_upload(unsigned status, const Upload& upload) {
  const uint64_t size = upload.size();
  return {status,
          {{"Location", fmt::format("/v2/{}/blobs/uploads/{}", upload.repository(), upload.id())},
           {"Range", fmt::format("0-{}", size > 0 ? size - 1 : 0)},
           {"Docker-Upload-UUID", upload.id()}}};
}

Answer out_of_order(const Upload& upload) {
  Answer answer = refuse(416, "BLOB_UPLOAD_INVALID", "the chunk does not begin where the upload stands",
                         fmt::format("{} bytes are here", upload.size()));
  for (auto& field : about_upload(416, upload).fields) answer.fields.push_back(std::move(field));
  return answer;
}

Answer created_blob(const std::string& repository, const ContentDigest& digest) {
  const std::string text = digest.to_string();
  return {201,
          {{"Location", fmt::format("/v2/{}/blobs/{}", repository, text)}, {"Docker-Content-Digest", text}}};
}

// What a chunk's lines say about itself.
struct Chunk {
  std::optional<ByteRange> range;
  std::optional<uint64_t> size;  // that it must have
};

// The answer that refuses it, when it does not fit.
std::optional<Answer> read_chunk(const RequestHead& head, const Upload& upload, Chunk& chunk) {
  chunk.size = head.content_length;
  const std::string_view text = head.field("Content-Range");
  if (text.empty()) return std::nullopt;
  chunk.range = parse_content_range(text);
  if (!chunk.range) return refuse(400, "BLOB_UPLOAD_INVALID", "malformed Content-Range", text);
  if (chunk.size && *chunk.size != chunk.range->size())
    return refuse(400, "SIZE_INVALID", "Content-Length and Content-Range differ", text);
  chunk.size = chunk.range->size();
  if (chunk.range->begin != upload.size()) return out_of_order(upload);
  return std::nullopt;
}

}  // namespace

// Takes bytes into an upload, on the connection's thread: into the page cache, while they are hashed.
class ChunkPatch : public Call {
 public:
  ChunkPatch(Service& service, const RequestHead& head, std::shared_ptr<Upload> upload)
      : upload_(std::move(upload)), service_(service) {
    refusal_ = read_chunk(head, *upload_, chunk_);
    if (refusal_) return;
    token_ = upload_->take_over();
    begin_ = upload_->size();
  }
  std::optional<Answer> on_begin() override { return refusal_; }
  std::optional<Answer> on_body(std::string_view bytes) override {
    came_ += bytes.size();
    if (chunk_.size && came_ > *chunk_.size) {
      cut();
      return refuse(400, "SIZE_INVALID", "more bytes came than Content-Range says");
    }
    return service_.take_bytes(*upload_, token_, bytes);
  }
  void on_end(Reply reply) override {
    if (chunk_.size && came_ != *chunk_.size) {
      cut();
      return reply(refuse(400, "SIZE_INVALID", "fewer bytes came than Content-Range says"));
    }
    end(reply);
  }

 protected:
  virtual void end(const Reply& reply) { reply(about_upload(202, *upload_)); }
  const std::shared_ptr<Upload> upload_;
  Service& service_;
  uint64_t token_ = 0;

 private:
  void cut() { service_.usage_.give_back(upload_->cut(token_, begin_)); }
  std::optional<Answer> refusal_;
  Chunk chunk_;
  uint64_t begin_ = 0, came_ = 0;
};

// The last chunk, or the whole, and the end.
class BlobPut : public ChunkPatch {
 public:
  BlobPut(Service& service, const RequestHead& head, std::shared_ptr<Upload> upload, ContentDigest digest)
      : ChunkPatch(service, head, std::move(upload)), digest_(std::move(digest)) {}

 protected:
  void end(const Reply& reply) override { service_.finish_upload(upload_, token_, digest_, reply); }

 private:
  const ContentDigest digest_;
};

// A small blob that comes in one request: it is never written to an upload's file.
class SmallBlobPut : public Call {
 public:
  SmallBlobPut(Service& service, std::shared_ptr<Upload> upload, std::string repository, ContentDigest digest)
      : service_(service),
        upload_(std::move(upload)),
        repository_(std::move(repository)),
        digest_(std::move(digest)) {}
  std::optional<Answer> on_body(std::string_view bytes) override {
    bytes_ += bytes;
    return std::nullopt;
  }
  void on_end(Reply reply) override {
    const ContentDigest found = ContentDigest::of(digest_.algorithm(), bytes_);
    if (found != digest_) {
      if (upload_ && upload_->seal()) service_.uploads_.drop(*upload_);
      return reply(wrong_digest(digest_, found));
    }
    const std::string content = Tree::content_path(digest_);
    std::vector<Change> changes;
    const bool is_new = !service_.tree_.use(content);
    if (is_new) {
      std::shared_ptr<Taken> taken = Taken::take(service_.usage_, bytes_.size());
      if (!taken) return reply(full());
      if (upload_ && !upload_->write_whole(bytes_)) return reply(taken_over());
      if (upload_) upload_->end();  // its bytes are the change's now
      changes.push_back(Change::put(content, std::move(bytes_)));
      changes.back().taken = std::move(taken);
      // The upload's file becomes the blob's: one to make less, and none to remove.
      if (upload_) changes.back().from = Tree::upload_path(repository_, upload_->id());
    }
    changes.push_back(Change::put(Tree::link_path(repository_, digest_), ""));
    service_.commit(std::move(changes), created_blob(repository_, digest_),
                    [&service = service_, upload = upload_, is_new, reply = std::move(reply)](Answer answer) {
                      service.end_upload(upload.get(), is_new && answer.status == 201);
                      reply(std::move(answer));
                    });
  }

 private:
  Service& service_;
  const std::shared_ptr<Upload> upload_;
  const std::string repository_;
  const ContentDigest digest_;
  std::string bytes_;
};

std::optional<Answer> Service::take_bytes(Upload& upload, uint64_t token, std::string_view bytes) {
  if (!usage_.take(bytes.size())) return full();
  const uint64_t before = upload.size();
  try {
    if (upload.write(token, bytes)) return std::nullopt;
  } catch (...) {
    usage_.give_back(bytes.size() - (upload.size() - before));  // what was written counts until it is dropped
    throw;
  }
  usage_.give_back(bytes.size());
  return taken_over();
}

std::unique_ptr<Call> Service::start_upload(const RequestHead& head, const std::string& repository) {
  if (const std::optional<std::string> mount = head.target.query_value("mount")) {
    const std::optional<ContentDigest> digest = ContentDigest::parse(*mount);
    if (!digest) return answer_now(refuse(400, "DIGEST_INVALID", "invalid digest", *mount));
    return mount_blob(head, repository, *digest);
  }
  if (const std::optional<std::string> text = head.target.query_value("digest")) {
    const std::optional<ContentDigest> digest = ContentDigest::parse(*text);
    if (!digest) return answer_now(refuse(400, "DIGEST_INVALID", "invalid digest", *text));
    return receive_blob(head, nullptr, repository, *digest);
  }
  std::optional<Algorithm> algorithm = Algorithm::kSha256;
  if (const std::optional<std::string> text = head.target.query_value("digest-algorithm"))
    algorithm = parse_algorithm(*text);
  if (!algorithm) return answer_now(refuse(400, "DIGEST_INVALID", "unsupported digest algorithm"));
  return answer_with([this, repository, algorithm](const Reply& reply) {
    reply(about_upload(202, *uploads_.begin(repository, *algorithm)));
  });
}

// Without `from`, any repository that has it will do; where not everybody may read everything, none.
std::unique_ptr<Call> Service::mount_blob(const RequestHead& head, const std::string& repository,
                                          const ContentDigest& digest) {
  const std::optional<std::string> from = head.target.query_value("from");
  const bool may_read =
      from ? oci::is_valid_repository(*from) && head.grants.allow("repository", *from, "pull")
           : head.grants.everything;
  return answer_with([this, repository, digest, from, may_read](Reply reply) {
    const bool is_there =
        may_read && (from ? use_blob(*from, digest) : tree_.use(Tree::content_path(digest)));
    if (!is_there) return reply(about_upload(202, *uploads_.begin(repository, digest.algorithm())));
    commit({Change::put(Tree::link_path(repository, digest), "")}, created_blob(repository, digest),
           std::move(reply));
  });
}

std::unique_ptr<Call> Service::upload_status(const std::string& repository, const std::string& id) {
  const std::shared_ptr<Upload> upload = uploads_.find(repository, id);
  if (!upload) return answer_now(unknown_upload(id));
  return answer_with([upload](const Reply& reply) { reply(about_upload(204, *upload)); });
}

std::unique_ptr<Call> Service::cancel_upload(const std::string& repository, const std::string& id) {
  const std::shared_ptr<Upload> upload = uploads_.find(repository, id);
  if (!upload) return answer_now(unknown_upload(id));
  return answer_with([this, upload](const Reply& reply) {
    if (!upload->seal()) return reply(unknown_upload(upload->id()));
    uploads_.drop(*upload);
    reply(Answer{204, {}});
  });
}

std::unique_ptr<Call> Service::patch_upload(const RequestHead& head, const std::string& repository,
                                            const std::string& id) {
  std::shared_ptr<Upload> upload = uploads_.find(repository, id);
  if (!upload) return answer_now(unknown_upload(id));
  return std::make_unique<ChunkPatch>(*this, head, std::move(upload));
}

std::unique_ptr<Call> Service::put_upload(const RequestHead& head, const std::string& repository,
                                          const std::string& id) {
  std::shared_ptr<Upload> upload = uploads_.find(repository, id);
  if (!upload) return answer_now(unknown_upload(id));
  const std::string text = head.target.query_value("digest").value_or("");
  const std::optional<ContentDigest> digest = ContentDigest::parse(text);
  if (!digest) return answer_now(refuse(400, "DIGEST_INVALID", "invalid digest", text));
  return receive_blob(head, std::move(upload), repository, *digest);
}

std::unique_ptr<Call> Service::receive_blob(const RequestHead& head, std::shared_ptr<Upload> upload,
                                            const std::string& repository, const ContentDigest& digest) {
  const bool is_whole = head.field("Content-Range").empty() && (!upload || upload->size() == 0);
  const std::optional<uint64_t> size = head.has_body ? head.content_length : 0;
  if (is_whole && size && *size <= kSmallBlob)
    return std::make_unique<SmallBlobPut>(*this, std::move(upload), repository, digest);
  if (!upload) upload = uploads_.begin(repository, digest.algorithm());
  return std::make_unique<BlobPut>(*this, head, std::move(upload), digest);
}

// A file that cannot be removed is the collector's.
void Service::end_upload(Upload* upload, bool has_become_blob) {
  if (!upload) return;
  try {
    has_become_blob ? uploads_.forget(*upload) : uploads_.drop(*upload);
  } catch (const std::exception& failure) {
    failed(failure);
  }
}

void Service::finish_upload(const std::shared_ptr<Upload>& upload, uint64_t token,
                            const ContentDigest& digest, Reply reply) {
  workers_.submit([this, upload, token, digest, reply = std::move(reply)] {
    try {
      std::optional<std::string> small = upload->take_small(token, kSmallBlob);
      const std::optional<ContentDigest> found =
          small ? ContentDigest::of(digest.algorithm(), *small) : upload->finish(token, digest.algorithm());
      if (!found) return reply(taken_over());
      if (*found != digest) {
        uploads_.drop(*upload);
        return reply(wrong_digest(digest, *found));
      }
      const std::string content = Tree::content_path(digest);
      const std::string& repository = upload->repository();
      std::vector<Change> changes;
      // The contents that are there stay: somebody may be reading them.
      const bool is_known = tree_.use(content);
      const std::string from = Tree::upload_path(repository, upload->id());
      if (!is_known) {
        changes.push_back(small ? Change::put(content, std::move(*small)) : Change::move(from, content));
        if (small) changes.back().from = from;
        if (const std::optional<uint64_t> size = upload->end())
          changes.back().taken = std::make_shared<Taken>(usage_, *size, *size);
      }
      changes.push_back(Change::put(Tree::link_path(repository, digest), ""));
      commit(std::move(changes), created_blob(repository, digest),
             [this, upload, is_known, reply](Answer answer) {
               end_upload(upload.get(), !is_known && answer.status == 201);
               reply(std::move(answer));
             });
    } catch (const std::exception& failure) {
      end_upload(upload.get(), false);
      reply(failed(failure));
    }
  });
}

}  // namespace corten::registry::serving
