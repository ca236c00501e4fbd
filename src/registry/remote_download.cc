// Blobs from a registry: what was cut, stalled or truncated goes on where it stood.
#include <unistd.h>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "registry/remote.h"

namespace corten::registry {

namespace {

// So much more than the last time makes a broken connection one of the network's moods, not the server's way.
constexpr uint64_t kProgress = 64 << 10;
constexpr int kMostConnections = 1000;  // for one blob

// "bytes 100-199/200": the first byte's place.
std::optional<uint64_t> first_byte(const std::string& content_range) {
  if (!content_range.starts_with("bytes ")) return std::nullopt;
  auto value = parse_int(content_range.substr(6, content_range.find('-') - 6));
  return value && *value >= 0 ? std::optional<uint64_t>(*value) : std::nullopt;
}

}  // namespace

// The bytes of one blob at one server, through as many connections as it takes.
class Remote::BlobStream : public archive::ByteSource {
 public:
  BlobStream(Remote& remote, const Endpoint& endpoint, const oci::Descriptor& blob)
      : BlobStream(remote, endpoint, blob, 0, blob.size) {}
  BlobStream(Remote& remote, const Endpoint& endpoint, const oci::Descriptor& blob, uint64_t begin,
             uint64_t end)
      : remote_(remote),
        endpoint_(endpoint),
        blob_(blob),
        end_(std::min(end, blob.size)),
        scopes_({repository_scope(endpoint.repository, "pull")}),
        what_("blob " + blob.digest.to_string()),
        at_(begin),
        counted_(begin) {}

  size_t read(void* data, size_t size) override {
    while (at_ < end_) {
      remote_.asker_.options().cancellation.check();
      try {
        if (!body_) open();
        const size_t n = body_->read(data, static_cast<size_t>(std::min<uint64_t>(size, end_ - at_)));
        if (n == 0) fail(ErrorCode::kIo, "{}: cut after {} of {} bytes", what_, at_, end_);
        at_ += n;
        return n;
      } catch (const Error& error) {
        body_.reset();
        if (error.code() != ErrorCode::kIo || !error.hint().empty() || is_given_up_) throw;
        if (at_ >= counted_ + kProgress) failures_ = 0;
        counted_ = at_;
        connections_++;
        if (++failures_ >= remote_.asker_.options().retry.attempts || connections_ > kMostConnections) throw;
      }
      remote_.asker_.pause(remote_.asker_.pause_after(failures_));
    }
    return 0;
  }

 private:
  void open() {
    http::Request request{.url = fmt::format("/{}/blobs/{}", endpoint_.repository, blob_.digest.to_string()),
                          .method = "GET"};
    request.any_status = true;
    if (end_ < blob_.size && has_ranges_)
      request.fields.emplace_back("Range", fmt::format("bytes={}-{}", at_, end_ - 1));
    else if (at_ > 0 && has_ranges_)
      request.fields.emplace_back("Range", fmt::format("bytes={}-", at_));
    is_given_up_ = true;  // what ask() tried in vain is not tried more often
    http::Response response = remote_.asker_.ask(endpoint_, request, scopes_);
    if (response.status == 416 && (at_ > 0 || end_ < blob_.size) && has_ranges_) {
      has_ranges_ = false;
      return open();
    }
    uint64_t skipped = 0;
    if (response.status == 206) {
      is_given_up_ = false;
      const auto first = first_byte(response.field("Content-Range"));
      if (!first || *first != at_)
        fail(ErrorCode::kIo, "{}: bytes from {} on were asked for, these are {}", what_, at_,
             printable(response.field("Content-Range")));
    } else if (response.status == 200) {
      if (response.size && *response.size != blob_.size)
        fail(ErrorCode::kCorrupt, "{}: {} has {} bytes of it, the manifest says {}", what_,
             endpoint_.authority, *response.size, blob_.size);
      skipped = at_;
    } else {
      throw remote_.asker_.refused(endpoint_, what_, response, scopes_);
    }
    is_given_up_ = false;
    body_ = std::move(response.body);
    char buffer[16 << 10];
    while (skipped > 0) {
      const size_t n = body_->read(buffer, static_cast<size_t>(std::min<uint64_t>(skipped, sizeof buffer)));
      if (n == 0) fail(ErrorCode::kIo, "{}: cut before byte {}", what_, at_);
      skipped -= n;
    }
  }

  Remote& remote_;
  const Endpoint& endpoint_;
  const oci::Descriptor& blob_;
  const uint64_t end_;
  std::vector<std::string> scopes_;
  std::string what_;
  std::unique_ptr<archive::ByteSource> body_;
  uint64_t at_, counted_;
  int failures_ = 0, connections_ = 0;
  bool is_given_up_ = false, has_ranges_ = true;
};

void Remote::fetch_blob(const oci::Reference& repository, const oci::Descriptor& blob, int fd,
                        const Meter& meter) {
  from_any(repository.without_digest(), [&](const Endpoint& endpoint) {
    if (meter) meter(0);
    if (lseek(fd, 0, SEEK_SET) != 0 || ftruncate(fd, 0) != 0) fail_errno("begin a download");
    BlobStream stream(*this, endpoint, blob);
    archive::VerifyingSource verified(stream, blob.digest, blob.size, "blob " + blob.digest.to_string());
    archive::FdSink sink(fd, "blob " + blob.digest.to_string());
    std::string buffer(256 << 10, '\0');
    uint64_t at = 0;
    while (const size_t n = verified.read(buffer.data(), buffer.size())) {
      sink.write({buffer.data(), n});
      at += n;
      if (meter) meter(at);
    }
  });
}

std::string Remote::read_blob(const oci::Reference& repository, const oci::Descriptor& blob,
                              size_t max_bytes) {
  if (blob.size > max_bytes)
    fail(ErrorCode::kInvalid, "blob {}: {} bytes; at most {} are taken", blob.digest.to_string(), blob.size,
         max_bytes);
  if (blob.data && Digest::of(*blob.data) == blob.digest) return *blob.data;
  std::string bytes;
  from_any(repository.without_digest(), [&](const Endpoint& endpoint) {
    BlobStream stream(*this, endpoint, blob);
    archive::VerifyingSource verified(stream, blob.digest, blob.size, "blob " + blob.digest.to_string());
    bytes = archive::read_rest(verified, max_bytes);
  });
  return bytes;
}

std::string Remote::read_part(const oci::Reference& repository, const oci::Descriptor& blob, uint64_t offset,
                              size_t size) {
  std::string bytes;
  from_any(repository.without_digest(), [&](const Endpoint& endpoint) {
    BlobStream stream(*this, endpoint, blob, offset, offset + size);
    bytes = archive::read_rest(stream, size);
  });
  return bytes;
}

}  // namespace corten::registry
