#include "cache/s3_place.h"

#include <algorithm>

#include <fmt/core.h>

#include "archive/source.h"
#include "base/error.h"
#include "base/strings.h"
#include "oci/manifest.h"
#include "oci/media_type.h"
#include "registry/cloud/answer.h"

namespace corten::cache {

namespace {

constexpr size_t kMaxAnswerBytes = 64 << 10;

// A part of a blob as it is sent; tells what the hash of all before and of this part is.
class PartSource : public archive::ByteSource {
 public:
  PartSource(std::unique_ptr<archive::ByteSource> from, uint64_t size, Sha256 before, Sha256& result)
      : from_(std::move(from)), left_(size), hash_(before), result_(result) {}
  size_t read(void* data, size_t size) override {
    const size_t n = from_->read(data, static_cast<size_t>(std::min<uint64_t>(size, left_)));
    hash_.update(data, n);
    left_ -= n;
    if (left_ == 0) result_ = hash_;
    return n;
  }

 private:
  std::unique_ptr<archive::ByteSource> from_;
  uint64_t left_;
  Sha256 hash_;
  Sha256& result_;
};

std::string what_of(const oci::Descriptor& blob) {
  return "blob " + blob.digest.to_string();
}

}  // namespace

registry::ResumedObject S3Place::object_of(const oci::Descriptor& blob) {
  const std::string what = "get " + what_of(blob);
  return {.what = what,
          .where = name(),
          .size = blob.size,
          .ask =
              [=, this](const std::string& range) {
                S3Request request{.key = blob_key(blob)};
                if (!range.empty()) request.fields.emplace_back("Range", range);
                http::Response response = bucket_.ask(request, what);
                if (response.status == 404)
                  fail(ErrorCode::kNotFound, "{}: {}: it is not there", name(), what);
                return response;
              },
          .pause = [this](int failures) { bucket_.wait_after_failure(failures); },
          .attempts = bucket_.options().retry.attempts,
          .cancellation = bucket_.options().cancellation};
}

S3Place::S3Place(const S3Spec& spec, http::Client& http, const Clock& clock, S3Options options)
    : spec_(spec),
      bucket_(spec, http, clock, std::move(options)),
      uploads_(std::clamp(static_cast<int>(spec.upload_parallelism), 1, 64)) {}

std::string S3Place::name() const {
  return "s3 " + spec_.name();
}

std::string S3Place::blob_key(const oci::Descriptor& blob) const {
  return spec_.prefix + spec_.blobs_prefix + blob.digest.to_string();
}

std::string S3Place::manifest_key(const std::string& name) const {
  return spec_.prefix + spec_.manifests_prefix + name;
}

std::optional<std::string> S3Place::manifest() {
  for (const std::string& name : spec_.names) {
    http::Response response = bucket_.ask({.key = manifest_key(name)}, "get manifest " + name);
    if (response.status == 404) continue;
    // Its digest is nowhere: what is cut is no JSON, and its blobs are verified.
    return bucket_.read(response, oci::kMaxManifestBytes);
  }
  return std::nullopt;
}

void S3Place::put_manifest(std::string_view bytes) {
  for (const std::string& name : spec_.names) {
    http::Response response = bucket_.ask({.method = "PUT",
                                           .key = manifest_key(name),
                                           .fields = {{"Content-Type", std::string(oci::kOciManifest)}},
                                           .body = http::RequestBody::of(std::string(bytes)),
                                           .payload = Digest::of(bytes).hex()},
                                          "put manifest " + name);
    if (response.status == 404) fail(ErrorCode::kFailed, "{}: put manifest {}: 404", this->name(), name);
    bucket_.read(response, kMaxAnswerBytes);
  }
}

bool S3Place::has_blob(const oci::Descriptor& blob) {
  http::Response response =
      bucket_.ask({.method = "HEAD", .key = blob_key(blob)}, "look for " + what_of(blob));
  return response.status != 404 && (!response.size || *response.size == blob.size);
}

std::string S3Place::read_blob(const oci::Descriptor& blob, size_t max_bytes) {
  if (blob.size > max_bytes)
    fail(ErrorCode::kInvalid, "{}: {} bytes; at most {} are taken", what_of(blob), blob.size, max_bytes);
  registry::ResumedStream stream(object_of(blob));
  archive::VerifyingSource verified(stream, blob.digest, blob.size, what_of(blob));
  return archive::read_rest(verified, max_bytes);
}

std::string S3Place::read_part(const oci::Descriptor& blob, uint64_t offset, size_t size) {
  registry::ResumedStream stream(object_of(blob), offset, offset + size);
  return archive::read_rest(stream, size);
}

void S3Place::fetch_blob(const oci::Descriptor& blob, int fd) {
  registry::ResumedStream stream(object_of(blob));
  archive::VerifyingSource verified(stream, blob.digest, blob.size, what_of(blob));
  archive::FdSink to(fd, what_of(blob));
  archive::copy_all(verified, to);
}

void S3Place::put_blob(const NewBlob& blob) {
  uploads_.acquire();
  struct Released {
    std::counting_semaphore<64>& semaphore;
    ~Released() { semaphore.release(); }
  } released{uploads_};
  if (has_blob(blob.descriptor)) return;
  if (blob.descriptor.size > bucket_.options().part_bytes)
    put_in_parts(blob);
  else
    put_whole(blob);
}

// The server verifies the digest, which is what is signed; that it may not is no reason to leave wrong bytes.
void S3Place::put_whole(const NewBlob& blob) {
  const oci::Descriptor& descriptor = blob.descriptor;
  Sha256 sent;
  http::RequestBody body{descriptor.size, [&]() -> std::unique_ptr<archive::ByteSource> {
                           return std::make_unique<PartSource>(blob.open(0), descriptor.size, Sha256(), sent);
                         }};
  http::Response response = bucket_.ask({.method = "PUT",
                                         .key = blob_key(descriptor),
                                         .fields = {{"Content-Type", "application/octet-stream"}},
                                         .body = std::move(body),
                                         .payload = descriptor.digest.hex()},
                                        "put " + what_of(descriptor));
  if (response.status == 404) fail(ErrorCode::kFailed, "{}: put {}: 404", name(), what_of(descriptor));
  bucket_.read(response, kMaxAnswerBytes);
  if (sent.finish() == descriptor.digest) return;
  bucket_.ask({.method = "DELETE", .key = blob_key(descriptor)}, "delete " + what_of(descriptor));
  fail(ErrorCode::kCorrupt, "put {}: its bytes are others", what_of(descriptor));
}

// One upload in parts: what is not completed is aborted, since the bucket's owner pays for it.
struct S3Place::Upload {
  S3Place& place;
  const NewBlob& blob;
  const std::string what = "put " + what_of(blob.descriptor);
  const std::string key = place.blob_key(blob.descriptor);
  std::string id;
  std::string parts;  // of the list that completes it
  Sha256 hash;

  std::string answer(const S3Request& request) {
    http::Response response = place.bucket_.ask(request, what);
    if (response.status == 404) fail(ErrorCode::kIo, "{}: {}: the upload is gone", place.name(), what);
    return place.bucket_.read(response, kMaxAnswerBytes);
  }

  void begin() {
    id = registry::cloud::xml_text(answer({.method = "POST",
                                           .key = key,
                                           .query = {{"uploads", ""}},
                                           .fields = {{"Content-Type", "application/octet-stream"}},
                                           .payload = Digest::of("").hex()}),
                                   "UploadId");
    if (id.empty()) fail(ErrorCode::kFailed, "{}: {}: no upload was begun", place.name(), what);
  }

  void send(uint64_t at, uint64_t size, int number) {
    Sha256 sent;
    http::RequestBody body{size, [&]() -> std::unique_ptr<archive::ByteSource> {
                             return std::make_unique<PartSource>(blob.open(at), size, hash, sent);
                           }};
    http::Response response =
        place.bucket_.ask({.method = "PUT",
                           .key = key,
                           .query = {{"partNumber", std::to_string(number)}, {"uploadId", id}},
                           .body = std::move(body)},
                          what);
    if (response.status == 404) fail(ErrorCode::kIo, "{}: {}: the upload is gone", place.name(), what);
    place.bucket_.read(response, kMaxAnswerBytes);
    hash = sent;
    const std::string etag = response.field("ETag");
    if (etag.empty() || etag.size() > 200 || etag.find_first_of("<>&") != etag.npos)
      fail(ErrorCode::kFailed, "{}: {}: a part without a tag", place.name(), what);
    parts += fmt::format("<Part><PartNumber>{}</PartNumber><ETag>{}</ETag></Part>", number, etag);
  }

  // A 200 may hold an error here: the state is sent before the parts are put together.
  void complete() {
    if (hash.finish() != blob.descriptor.digest) fail(ErrorCode::kCorrupt, "{}: its bytes are others", what);
    const std::string list = "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">" +
                             parts + "</CompleteMultipartUpload>";
    const std::string xml = answer({.method = "POST",
                                    .key = key,
                                    .query = {{"uploadId", id}},
                                    .fields = {{"Content-Type", "application/xml"}},
                                    .body = http::RequestBody::of(list),
                                    .payload = Digest::of(list).hex()});
    if (xml.find("<Error>") == xml.npos) return;
    fail(ErrorCode::kFailed, "{}: {}: {}", place.name(), what,
         printable(registry::cloud::xml_text(xml, "Code").substr(0, 100)));
  }

  void abort() {
    try {
      place.bucket_.ask({.method = "DELETE", .key = key, .query = {{"uploadId", id}}}, what);
    } catch (const Error&) {
      // A lifecycle rule takes what is left; the failure before is what counts.
    }
  }
};

void S3Place::put_in_parts(const NewBlob& blob) {
  constexpr uint64_t kMostParts = 10'000;
  const uint64_t size = blob.descriptor.size;
  const uint64_t part = std::max(bucket_.options().part_bytes, size / kMostParts + 1);
  Upload upload{.place = *this, .blob = blob};
  upload.begin();
  try {
    int number = 1;
    for (uint64_t at = 0; at < size; at += part) upload.send(at, std::min(part, size - at), number++);
    upload.complete();
  } catch (...) {
    upload.abort();
    throw;
  }
}

}  // namespace corten::cache
