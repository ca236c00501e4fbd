// Another process, stopped in a system call, as it sees itself: its memory, its descriptors, its paths.
//
// A path means what it means to that thread: from its root (it may have changed it) and its directory, with
// links followed there. Instead of walking by ourselves we take the thread's root as our own for the call and
// let the kernel walk; so a view belongs to one thread, which has its root and directory apart from the rest
// of us (CLONE_FS). Links of /proc that are no real links (/proc/1/root) are never followed: they could lead
// out of the box, and we may more than the step may. Descriptors are named by number instead.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/unique_fd.h"

namespace corten::sandbox {

// Bytes of somebody else's memory: gives how many it could copy, at most `size`, or -errno when none.
using MemoryReader = std::function<ssize_t(uint64_t address, void* to, size_t size)>;
// The string that lies there, as the kernel reads a path: 0, or -ENAMETOOLONG when it has PATH_MAX bytes or
// more, or what the reader says.
int read_path(const MemoryReader& memory, uint64_t address, std::string& path);

// "/proc/self/fd/7", "/proc/thread-self/fd/7" and "/dev/fd/7" are how programs say "my descriptor 7" to calls
// that take a path.
std::optional<int> descriptor_named(const std::string& path);

// Where a new file of that path is to be made, and under which name: the directory is never "", the name has
// no slash.
struct NewName {
  std::string directory, name;
};
NewName split_new_name(const std::string& path);

class ProcessView {
 public:
  // For the calling thread, which can use no path of ours afterwards.
  ProcessView();

  // All of these give -errno when it cannot be done, as the thread would see it. `tid` as we number it.
  int read_path(pid_t tid, uint64_t address, std::string& path) const;
  int write(pid_t tid, uint64_t address, const void* bytes, size_t size) const;
  // O_PATH. dirfd as in openat(2), AT_FDCWD included.
  int open_path(pid_t tid, int dirfd, const std::string& path, bool follow, UniqueFd& file);
  int open_descriptor(pid_t tid, int fd, UniqueFd& file) const;
  int file_mode_mask(pid_t tid, mode_t& mask) const;

  // The name of a descriptor of ours, for calls that take no descriptor.
  static std::string name_of(int fd);

 private:
  int take_root_of(pid_t tid);

  UniqueFd proc_;
  uint64_t root_mount_ = 0, root_inode_ = 0;
};

}  // namespace corten::sandbox
