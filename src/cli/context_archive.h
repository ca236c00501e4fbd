// A build context as an archive, for a builder elsewhere.
#pragma once
#include <string>

#include "base/temp_dir.h"
#include "http/client.h"

namespace corten::cli {

// A tar.gz in a directory of its own, which goes with it.
class ContextArchive {
 public:
  // What the ignore file (Dockerfile.dockerignore, else .dockerignore) lets through, and the Dockerfile.
  // Owners and times are left out, links are kept as links and never followed. Error(kNotFound) for a
  // Dockerfile that is not in the context.
  ContextArchive(const std::string& directory, const std::string& dockerfile);

  http::RequestBody body() const;
  uint64_t size() const { return size_; }
  size_t entries() const { return entries_; }

 private:
  TempDir directory_;
  uint64_t size_ = 0;
  size_t entries_ = 0;
};

}  // namespace corten::cli
