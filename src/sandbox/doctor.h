// What this machine gives, found by trying it. Pure data; the command line prints it.
#pragma once
#include <string>
#include <vector>

#include "base/path.h"

namespace corten::sandbox {

struct Finding {
  enum class State { kOk, kLimited, kMissing };
  State state = State::kOk;
  std::string subject;  // "privilege", "ids", "overlay", ...
  std::string what;     // one line: what was found
  std::string climb;    // the line that mends it; empty when nothing needs to be mended
};

// Each is tried in a child process. `store` need not exist: the nearest directory above it that does is
// tried. No threads yet.
std::vector<Finding> examine(const HostPath& store);

}  // namespace corten::sandbox
