// A lock that is held while somebody else works, waited for until the user has had enough.
#pragma once
#include <string>

#include "base/thread_pool.h"
#include "base/unique_fd.h"

namespace corten {

// FileLock::exclusive() that gives up with Error(kCancelled) soon after a cancellation.
FileLock wait_for_lock(const std::string& path, const Cancellation& cancellation);

}  // namespace corten
