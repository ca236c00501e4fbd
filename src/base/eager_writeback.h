// Has the kernel write a big file to the disk while it still grows: the sync at its end then finds little to
// do, and its pages do not fill the memory.
#pragma once
#include <fcntl.h>

#include <cstdint>

namespace corten {

class EagerWriteback {
 public:
  // The file has `size` bytes now. Begins to write what came since the last time, when that is worth it, and
  // does not wait for it; a failure is for the sync to tell.
  void reached(int fd, uint64_t size) {
    if (size < begun_ + kStep) return;
    sync_file_range(fd, static_cast<off_t>(begun_), static_cast<off_t>(size - begun_), SYNC_FILE_RANGE_WRITE);
    begun_ = size;
  }

 private:
  static constexpr uint64_t kStep = 8 << 20;
  uint64_t begun_ = 0;
};

}  // namespace corten
