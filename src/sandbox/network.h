// Network namespaces that outlive the process that made them, for as long as their descriptor is open.
#pragma once
#include "base/unique_fd.h"

namespace corten::sandbox {

// A new network namespace with `lo` up and nothing else. After enter(). Thread-safe.
UniqueFd make_network_namespace();

}  // namespace corten::sandbox
