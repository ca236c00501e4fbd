#include "base/wait_lock.h"

#include <chrono>
#include <thread>

namespace corten {

FileLock wait_for_lock(const std::string& path, const Cancellation& cancellation) {
  FileLock lock;
  while (!FileLock::try_exclusive(path, lock)) {
    cancellation.check();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return lock;
}

}  // namespace corten
