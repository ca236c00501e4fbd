// Another registry, whose images are fetched when somebody asks for them and are kept here.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "archive/source.h"
#include "base/thread_pool.h"
#include "registry/server/content_digest.h"

namespace corten::registry::serving {

// Thread-safe. Errors as of http::Client: Error(kIo) when it cannot be reached, or a body is cut short.
class Upstream {
 public:
  // "https://registry-1.docker.io"; credentials are this machine's for it (docker login).
  explicit Upstream(const std::string& address);
  ~Upstream();

  struct Manifest {
    std::string media_type, bytes;
  };
  // Nothing when it does not have it.
  std::optional<ContentDigest> resolve(const std::string& repository, const std::string& tag) const;
  std::optional<Manifest> manifest(const std::string& repository, const std::string& reference) const;
  struct Blob {
    std::unique_ptr<archive::ByteSource> body;
    uint64_t offset = 0;           // of its first byte: what was asked for, or 0
    std::optional<uint64_t> size;  // of all of it, when it was told
  };
  std::optional<Blob> blob(const std::string& repository, const ContentDigest& digest, uint64_t offset) const;
  // Whatever is asked, or comes, ends with Error(kCancelled).
  void cancel();
  const Cancellation& cancellation() const;

 private:
  struct Inside;
  std::unique_ptr<Inside> inside_;
};

}  // namespace corten::registry::serving
