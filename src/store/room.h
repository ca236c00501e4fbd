// How much room the store's file system has.
#pragma once
#include <cstdint>
#include <string>

namespace corten::store {

struct FileSystemRoom {
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;                     // for us, not for root alone
  uint64_t total_inodes = 0, free_inodes = 0;  // 0 of 0: the file system does not count them
  std::string mount_point;                     // as the kernel names it; "" when that cannot be read
  std::string type;                            // "ext4", "tmpfs"

  // "/var (ext4): 1.2GB of 40GB free", with inodes when they are used up.
  std::string describe() const;
};

// The sizes alone: one system call.
FileSystemRoom room_of(const std::string& path);
// With where and what it is.
FileSystemRoom described_room_of(const std::string& path);

}  // namespace corten::store
