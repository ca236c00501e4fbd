// File descriptors that close themselves, and the few reads and writes that everyone needs.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace corten {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  explicit operator bool() const { return is_open(); }
  int release() { return std::exchange(fd_, -1); }
  void reset();                               // keeps errno
  void close_checked(std::string_view what);  // for written files: throws when close fails
  UniqueFd duplicate() const;                 // close-on-exec

 private:
  int fd_ = -1;
};

struct Pipe {
  UniqueFd read, write;
};
Pipe make_pipe();  // both ends close-on-exec

// All of these retry EINTR and throw Error with the path; descriptors are close-on-exec.
UniqueFd open_file(const std::string& path, int flags, mode_t mode = 0666);
UniqueFd open_at(int dir, const std::string& name, int flags, mode_t mode = 0666);
// Where the file is now, as the kernel has it (no links in it).
std::string path_of(int fd, std::string_view what);
// Reads until `size` bytes or the end; gives how many.
size_t read_fully(int fd, void* data, size_t size, std::string_view what);
void write_fully(int fd, std::string_view bytes, std::string_view what);
std::string read_all(int fd, std::string_view what,
                     size_t max_bytes = SIZE_MAX);  // Error(kInvalid) when longer
// Refuses anything but a regular file (a FIFO would block for ever): Error(kInvalid).
std::string read_file(const std::string& path, size_t max_bytes = SIZE_MAX);
// Writes to a temporary name beside it, syncs, renames, syncs the directory. Survives a kill at any instant.
// Without the syncs a crash of the machine may leave anything: for caches that know their own bytes.
enum class Durable { kYes, kNo };
void write_file_atomic(const std::string& path, std::string_view bytes, mode_t mode = 0644,
                       Durable durable = Durable::kYes);
void sync_directory(const std::string& path);
// Copies `size` bytes between descriptors at their offsets: reflink, copy_file_range, then read and write.
void copy_contents(int from, int to, uint64_t size, std::string_view what);

// An advisory lock (flock) on a file, made when missing. Released when destroyed, or when the last process
// that inherited the descriptor is dead.
class FileLock {
 public:
  static FileLock exclusive(const std::string& path);
  static FileLock shared(const std::string& path);
  static bool try_exclusive(const std::string& path, FileLock& lock);  // false: somebody holds it
  static bool try_shared(const std::string& path, FileLock& lock);     // false: somebody holds it exclusively
  // False: somebody holds it. A file that is not there (any more) is held by nobody: true, it is not made,
  // and `lock` holds nothing. For directories that another process may be removing.
  static bool try_exclusive_unless_gone(const std::string& path, FileLock& lock);
  // Of a lock that is held shared: whether nobody else holds it; then it is exclusive. Either way it stays
  // held.
  bool try_upgrade();
  void downgrade();
  int fd() const { return fd_.get(); }
  bool held() const { return fd_.is_open(); }
  void release() { fd_.reset(); }

 private:
  UniqueFd fd_;
};

}  // namespace corten
