#include "base/temp_dir.h"

#include <stdlib.h>

#include "base/beneath.h"
#include "base/error.h"

namespace corten {

TempDir TempDir::make(const std::string& parent, const std::string& prefix) {
  TempDir dir;
  dir.path_ = parent + "/" + prefix + "XXXXXX";
  if (!mkdtemp(dir.path_.data())) {
    std::string path = std::exchange(dir.path_, {});
    fail_errno("make a temporary directory {}", path);
  }
  return dir;
}

TempDir TempDir::for_test() {
  const char* place = getenv("TMPDIR");
  return make(place && *place ? place : "/tmp", "corten-test-");
}

TempDir& TempDir::operator=(TempDir&& other) noexcept {
  std::swap(path_, other.path_);
  return *this;
}

TempDir::~TempDir() {
  if (path_.empty()) return;
  try {
    remove_tree(path_);
  } catch (const Error&) {
    // A destructor may not throw; what is left lies below the store's tmp, which prune empties.
  }
}

}  // namespace corten
