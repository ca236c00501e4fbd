#include "sandbox/process_view.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/strings.h"

namespace corten::sandbox {

namespace {

constexpr uint64_t kPageBytes = 4096;

}  // namespace

std::optional<int> descriptor_named(const std::string& path) {
  for (const char* prefix : {"/proc/self/fd/", "/proc/thread-self/fd/", "/dev/fd/"}) {
    if (!path.starts_with(prefix)) continue;
    const auto number = parse_int(std::string_view(path).substr(strlen(prefix)));
    if (!number || *number < 0 || *number > INT_MAX) return std::nullopt;
    return static_cast<int>(*number);
  }
  return std::nullopt;
}

NewName split_new_name(const std::string& path) {
  const size_t cut = path.rfind('/');
  if (cut == path.npos) return {.directory = ".", .name = path};
  return {.directory = cut == 0 ? "/" : path.substr(0, cut), .name = path.substr(cut + 1)};
}

// Page by page: the next one may not be there, and the string may end before.
int read_path(const MemoryReader& memory, uint64_t address, std::string& path) {
  path.clear();
  char buffer[kPageBytes];
  while (path.size() < PATH_MAX) {
    const uint64_t size = std::min<uint64_t>(kPageBytes - address % kPageBytes, PATH_MAX - path.size());
    const ssize_t n = memory(address, buffer, size);
    if (n <= 0) return n < 0 ? static_cast<int>(n) : -EFAULT;
    const size_t length = strnlen(buffer, static_cast<size_t>(n));
    path.append(buffer, length);
    if (length < static_cast<size_t>(n)) return 0;
    address += static_cast<uint64_t>(n);
  }
  return -ENAMETOOLONG;
}

ProcessView::ProcessView() : proc_(open_file("/proc", O_PATH | O_DIRECTORY)) {
  if (unshare(CLONE_FS) != 0) fail_errno("have a root directory of our own");
  if (fchdir(proc_.get()) != 0) fail_errno("change to /proc");
}

std::string ProcessView::name_of(int fd) {
  return fmt::format("thread-self/fd/{}", fd);  // from /proc, which is our directory
}

int ProcessView::read_path(pid_t tid, uint64_t address, std::string& path) const {
  auto memory = [tid](uint64_t from, void* to, size_t size) -> ssize_t {
    iovec here{.iov_base = to, .iov_len = size};
    iovec there{.iov_base = reinterpret_cast<void*>(from), .iov_len = size};
    const ssize_t n = process_vm_readv(tid, &here, 1, &there, 1, 0);
    return n < 0 ? -errno : n;
  };
  return sandbox::read_path(memory, address, path);
}

int ProcessView::write(pid_t tid, uint64_t address, const void* bytes, size_t size) const {
  iovec here{.iov_base = const_cast<void*>(bytes), .iov_len = size};
  iovec there{.iov_base = reinterpret_cast<void*>(address), .iov_len = size};
  const ssize_t n = process_vm_writev(tid, &here, 1, &there, 1, 0);
  if (n == static_cast<ssize_t>(size)) return 0;
  return n < 0 ? -errno : -EFAULT;
}

int ProcessView::take_root_of(pid_t tid) {
  UniqueFd root(openat(proc_.get(), fmt::format("{}/root", tid).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) return -errno;
  struct statx st;
  if (statx(root.get(), "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &st) != 0) return -errno;
  if (st.stx_mnt_id == root_mount_ && st.stx_ino == root_inode_) return 0;
  root_mount_ = root_inode_ = 0;
  if (fchdir(root.get()) != 0 || chroot(".") != 0 || fchdir(proc_.get()) != 0) return -errno;
  root_mount_ = st.stx_mnt_id;
  root_inode_ = st.stx_ino;
  return 0;
}

int ProcessView::open_path(pid_t tid, int dirfd, const std::string& path, bool follow, UniqueFd& file) {
  if (auto fd = follow ? descriptor_named(path) : std::nullopt) return open_descriptor(tid, *fd, file);
  if (path.empty()) return -ENOENT;
  if (int result = take_root_of(tid); result != 0) return result;
  UniqueFd base;
  if (path[0] != '/') {
    const std::string name =
        dirfd == AT_FDCWD ? fmt::format("{}/cwd", tid) : fmt::format("{}/fd/{}", tid, dirfd);
    base = UniqueFd(openat(proc_.get(), name.c_str(), O_PATH | O_CLOEXEC));
    if (!base) return errno == ENOENT ? -EBADF : -errno;
  }
  open_how how{};
  how.flags = static_cast<uint64_t>(O_PATH | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW));
  how.resolve = RESOLVE_NO_MAGICLINKS;
  file = UniqueFd(
      static_cast<int>(syscall(SYS_openat2, base ? base.get() : AT_FDCWD, path.c_str(), &how, sizeof how)));
  return file ? 0 : -errno;
}

int ProcessView::open_descriptor(pid_t tid, int fd, UniqueFd& file) const {
  const std::string name = fd == AT_FDCWD ? fmt::format("{}/cwd", tid) : fmt::format("{}/fd/{}", tid, fd);
  file = UniqueFd(openat(proc_.get(), name.c_str(), O_PATH | O_CLOEXEC));
  return file ? 0 : errno == ENOENT ? -EBADF : -errno;
}

int ProcessView::file_mode_mask(pid_t tid, mode_t& mask) const {
  UniqueFd file(openat(proc_.get(), fmt::format("{}/status", tid).c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return -errno;
  char text[4096];
  const ssize_t size = read(file.get(), text, sizeof text);
  if (size < 0) return -errno;
  for (const std::string& line : split({text, static_cast<size_t>(size)}, '\n'))
    if (line.starts_with("Umask:"))
      if (const auto value = parse_octal(trim(std::string_view(line).substr(6)))) {
        mask = static_cast<mode_t>(*value & 0777);
        return 0;
      }
  return -ENOENT;
}

}  // namespace corten::sandbox
