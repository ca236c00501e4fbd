#include "base/unique_fd.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "base/error.h"
#include "base/path.h"

namespace corten {

void UniqueFd::reset() {
  if (fd_ < 0) return;
  int saved = errno;
  ::close(std::exchange(fd_, -1));
  errno = saved;
}

void UniqueFd::close_checked(std::string_view what) {
  if (fd_ >= 0 && ::close(std::exchange(fd_, -1)) != 0 && errno != EINTR) fail_errno("close {}", what);
}

UniqueFd UniqueFd::duplicate() const {
  int copy = fcntl(fd_, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) fail_errno("duplicate a descriptor");
  return UniqueFd(copy);
}

Pipe make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) fail_errno("make a pipe");
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

UniqueFd open_file(const std::string& path, int flags, mode_t mode) {
  return open_at(AT_FDCWD, path, flags, mode);
}

UniqueFd open_at(int dir, const std::string& name, int flags, mode_t mode) {
  int fd;
  do fd = ::openat(dir, name.c_str(), flags | O_CLOEXEC, mode);
  while (fd < 0 && errno == EINTR);
  if (fd < 0) fail_errno("open {}", name);
  return UniqueFd(fd);
}

size_t read_fully(int fd, void* data, size_t size, std::string_view what) {
  size_t done = 0;
  while (done < size) {
    ssize_t n = ::read(fd, static_cast<char*>(data) + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_errno("read {}", what);
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

void write_fully(int fd, std::string_view bytes, std::string_view what) {
  while (!bytes.empty()) {
    ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_errno("write {}", what);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

std::string read_all(int fd, std::string_view what, size_t max_bytes) {
  std::string text;
  constexpr size_t kStep = 64 << 10;
  while (true) {
    size_t old = text.size();
    text.resize(old + kStep);
    size_t n = read_fully(fd, text.data() + old, kStep, what);
    text.resize(old + n);
    if (text.size() > max_bytes) fail(ErrorCode::kInvalid, "{}: longer than {} bytes", what, max_bytes);
    if (n < kStep) return text;
  }
}

std::string read_file(const std::string& path, size_t max_bytes) {
  UniqueFd fd = open_file(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  struct stat st;
  if (fstat(fd.get(), &st) != 0) fail_errno("stat {}", path);
  if (S_ISDIR(st.st_mode)) throw errno_error(EISDIR, "read " + path);
  if (!S_ISREG(st.st_mode) && !path.starts_with("/proc/") && !path.starts_with("/dev/fd/"))
    fail(ErrorCode::kInvalid, "read {}: not a regular file", path);
  return read_all(fd.get(), path, max_bytes);
}

void sync_directory(const std::string& path) {
  UniqueFd fd = open_file(path, O_RDONLY | O_DIRECTORY);
  if (fsync(fd.get()) != 0 && errno != EINVAL) fail_errno("sync {}", path);
}

std::string path_of(int fd, std::string_view what) {
  char text[4096];
  const ssize_t n = readlink(fmt::format("/proc/self/fd/{}", fd).c_str(), text, sizeof text);
  if (n <= 0 || n == static_cast<ssize_t>(sizeof text)) fail_errno("{}: find the path of a descriptor", what);
  return {text, static_cast<size_t>(n)};
}

void write_file_atomic(const std::string& path, std::string_view bytes, mode_t mode, Durable durable) {
  std::string temporary = path + ".tmp-XXXXXX";
  UniqueFd fd(mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd) fail_errno("create {}", temporary);
  try {
    write_fully(fd.get(), bytes, temporary);
    if (fchmod(fd.get(), mode) != 0) fail_errno("chmod {}", temporary);
    if (durable == Durable::kYes && fsync(fd.get()) != 0) fail_errno("sync {}", temporary);
    fd.close_checked(temporary);
    if (rename(temporary.c_str(), path.c_str()) != 0) fail_errno("rename {} to {}", temporary, path);
  } catch (...) {
    unlink(temporary.c_str());
    throw;
  }
  if (durable == Durable::kYes) sync_directory(HostPath{path}.parent());
}

void copy_contents(int from, int to, uint64_t size, std::string_view what) {
  if (size == 0) return;
  if (ioctl(to, FICLONE, from) == 0) return;
  uint64_t done = 0;
  while (done < size) {
    ssize_t n = copy_file_range(from, nullptr, to, nullptr, size - done, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && done == 0) break;  // EXDEV, EINVAL, EOPNOTSUPP: another way is left
    if (n < 0) fail_errno("copy {}", what);
    if (n == 0) break;
    done += static_cast<uint64_t>(n);
  }
  std::vector<char> buffer(done < size ? 256 << 10 : 0);
  while (done < size) {
    size_t n = read_fully(from, buffer.data(), std::min<uint64_t>(buffer.size(), size - done), what);
    if (n == 0) fail(ErrorCode::kIo, "copy {}: became shorter while it was copied", what);
    write_fully(to, {buffer.data(), n}, what);
    done += n;
  }
}

static bool lock_file(const std::string& path, int operation, UniqueFd& fd, int flags = O_CREAT) {
  while (true) {
    fd.reset();  // when there is nothing to open, nothing is held
    fd = open_file(path, O_RDONLY | flags, 0600);
    while (flock(fd.get(), operation) != 0) {
      if (errno == EINTR) continue;
      if (errno == EWOULDBLOCK) {
        fd.reset();
        return false;
      }
      fail_errno("lock {}", path);
    }
    // Whoever held it may have taken the file away meanwhile, or put another in its place: a lock on a file
    // that is not the one of this name keeps nobody out.
    struct stat held, named;
    if (fstat(fd.get(), &held) != 0) fail_errno("stat {}", path);
    if (stat(path.c_str(), &named) == 0 && named.st_ino == held.st_ino && named.st_dev == held.st_dev)
      return true;
  }
}

FileLock FileLock::exclusive(const std::string& path) {
  FileLock lock;
  lock_file(path, LOCK_EX, lock.fd_);
  return lock;
}
FileLock FileLock::shared(const std::string& path) {
  FileLock lock;
  lock_file(path, LOCK_SH, lock.fd_);
  return lock;
}
bool FileLock::try_upgrade() {
  if (flock(fd_.get(), LOCK_EX | LOCK_NB) == 0) return true;
  // A failed conversion may have given up the shared lock (flock(2)).
  while (flock(fd_.get(), LOCK_SH) != 0)
    if (errno != EINTR) fail_errno("lock");
  return false;
}

void FileLock::downgrade() {
  while (flock(fd_.get(), LOCK_SH) != 0)
    if (errno != EINTR) fail_errno("lock");
}

bool FileLock::try_shared(const std::string& path, FileLock& lock) {
  return lock_file(path, LOCK_SH | LOCK_NB, lock.fd_);
}

bool FileLock::try_exclusive(const std::string& path, FileLock& lock) {
  return lock_file(path, LOCK_EX | LOCK_NB, lock.fd_);
}

bool FileLock::try_exclusive_unless_gone(const std::string& path, FileLock& lock) {
  try {
    return lock_file(path, LOCK_EX | LOCK_NB, lock.fd_, 0);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound) throw;
    return true;
  }
}

}  // namespace corten
