// Blobs from a registry: what was cut, stalled or truncated goes on where it stood.
#include <unistd.h>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "registry/remote.h"
#include "registry/resumed_stream.h"

namespace corten::registry {

// The bytes of one blob at one server.
ResumedObject Remote::object_of(const Endpoint& endpoint, const oci::Descriptor& blob) {
  const std::vector<std::string> scopes = {repository_scope(endpoint.repository, "pull")};
  const std::string what = "blob " + blob.digest.to_string();
  return {.what = what,
          .where = endpoint.authority,
          .size = blob.size,
          .ask =
              [=, this](const std::string& range) {
                http::Request request = request_of(
                    "GET", fmt::format("/{}/blobs/{}", endpoint.repository, blob.digest.to_string()));
                if (!range.empty()) request.fields.emplace_back("Range", range);
                http::Response response = asker_.ask(endpoint, request, scopes);
                const bool is_beyond = response.status == 416 && !range.empty();
                if (response.status == 200 || response.status == 206 || is_beyond) return response;
                throw asker_.refused(endpoint, what, response, scopes);
              },
          .pause = [this](int failures) { asker_.pause(asker_.pause_after(failures)); },
          .attempts = asker_.options().retry.attempts,
          .cancellation = asker_.options().cancellation};
}

void Remote::fetch_blob(const oci::Reference& repository, const oci::Descriptor& blob, int fd,
                        const Meter& meter) {
  from_any(repository.without_digest(), [&](const Endpoint& endpoint) {
    if (meter) meter(0);
    if (lseek(fd, 0, SEEK_SET) != 0 || ftruncate(fd, 0) != 0) fail_errno("begin a download");
    ResumedStream stream(object_of(endpoint, blob));
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
    ResumedStream stream(object_of(endpoint, blob));
    archive::VerifyingSource verified(stream, blob.digest, blob.size, "blob " + blob.digest.to_string());
    bytes = archive::read_rest(verified, max_bytes);
  });
  return bytes;
}

std::string Remote::read_part(const oci::Reference& repository, const oci::Descriptor& blob, uint64_t offset,
                              size_t size) {
  std::string bytes;
  from_any(repository.without_digest(), [&](const Endpoint& endpoint) {
    ResumedStream stream(object_of(endpoint, blob), offset, offset + size);
    bytes = archive::read_rest(stream, size);
  });
  return bytes;
}

}  // namespace corten::registry
