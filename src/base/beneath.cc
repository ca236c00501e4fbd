#include "base/beneath.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/core.h>

#include "base/error.h"
#include "base/path.h"
#include "base/strings.h"

namespace corten {

namespace {

int openat2_retry(int root, const std::string& path, int flags, mode_t mode, uint64_t resolve) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.mode = flags & (O_CREAT | O_TMPFILE) ? mode : 0;
  how.resolve = resolve;
  // EAGAIN: a rename somewhere raced with ".."; the manual says to try again.
  for (int attempt = 0; attempt < 1000; attempt++) {
    long fd = syscall(SYS_openat2, root, path.empty() ? "." : path.c_str(), &how, sizeof how);
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) return static_cast<int>(fd);
  }
  return -1;
}

std::optional<UniqueFd> open_resolved(int root, std::string_view path, int flags, mode_t mode,
                                      uint64_t resolve) {
  int fd = openat2_retry(root, std::string(path), flags, mode, resolve);
  if (fd >= 0) return UniqueFd(fd);
  if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return std::nullopt;
  fail_errno("open {}", path);
}

}  // namespace

std::optional<UniqueFd> open_in_root(int root, std::string_view path, int flags, mode_t mode) {
  return open_resolved(root, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

std::optional<UniqueFd> open_no_links(int root, std::string_view path, int flags, mode_t mode) {
  while (path.starts_with('/')) path.remove_prefix(1);
  return open_resolved(root, path, flags | O_NOFOLLOW, mode, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

UniqueFd make_directories(int root, std::string_view path, mode_t mode) {
  UniqueFd here = open_at(root, ".", O_PATH | O_DIRECTORY);
  for (const std::string& name : RootfsPath(path).components()) {
    if (mkdirat(here.get(), name.c_str(), mode) != 0 && errno != EEXIST)
      fail_errno("make directory {}", path);
    auto next = open_no_links(here.get(), name, O_PATH | O_DIRECTORY);
    if (!next) fail(ErrorCode::kInvalid, "make directory {}: {} is not a directory", path, quote(name));
    here = std::move(*next);
  }
  return here;
}

namespace {

// What lies deeper than we have descriptors for (a step may nest directories without end) moves up to the top
// and is removed from there.
struct Removal {
  int top;
  dev_t device;
  std::vector<std::string> moved_up;
};
constexpr int kMostNested = 100;

bool move_up(Removal& removal, int dir, const std::string& name) {
  for (size_t i = removal.moved_up.size(); i < removal.moved_up.size() + 100; i++) {
    std::string free = fmt::format(".removed-{}-{}", getpid(), i);
    if (renameat2(dir, name.c_str(), removal.top, free.c_str(), RENAME_NOREPLACE) == 0) {
      removal.moved_up.push_back(free);
      return true;
    }
    if (errno != EEXIST) return false;
  }
  return false;
}

void remove_contents(int dir, Removal& removal, int depth, const std::string& what) {
  UniqueFd copy(openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!copy) fail_errno("remove {}", what);
  DIR* stream = fdopendir(copy.get());
  if (!stream) fail_errno("remove {}", what);
  int fd = copy.release();
  std::vector<std::string> names;
  while (dirent* entry = readdir(stream))
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      names.emplace_back(entry->d_name);
  struct Closer {
    DIR* stream;
    ~Closer() { closedir(stream); }
  } closer{stream};
  for (const std::string& name : names) {
    if (unlinkat(fd, name.c_str(), 0) == 0 || errno == ENOENT) continue;
    if (errno != EISDIR && errno != EPERM) fail_errno("remove {}/{}", what, name);
    struct stat st;
    if (fstatat(fd, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) continue;  // somebody else removes the same tree
      fail_errno("remove {}/{}", what, name);
    }
    if (!S_ISDIR(st.st_mode)) throw errno_error(EPERM, fmt::format("remove {}/{}", what, name));
    if (st.st_dev != removal.device)
      throw errno_error(EXDEV, fmt::format("remove {}/{}: something is mounted here", what, name));
    if ((st.st_mode & 0700) != 0700) fchmodat(fd, name.c_str(), 0700, 0);
    if (depth >= kMostNested && move_up(removal, fd, name)) continue;
    UniqueFd child(openat(fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!child && errno == ENOENT) continue;
    if (!child) fail_errno("remove {}/{}", what, name);
    remove_contents(child.get(), removal, depth + 1, what + "/" + name);
    if (unlinkat(fd, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT)
      fail_errno("remove {}/{}", what, name);
  }
}

}  // namespace

void remove_tree_at(int dir, const std::string& name) {
  struct stat st;
  if (fstatat(dir, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return;
    fail_errno("remove {}", name);
  }
  if (!S_ISDIR(st.st_mode)) {
    if (unlinkat(dir, name.c_str(), 0) != 0 && errno != ENOENT) fail_errno("remove {}", name);
    return;
  }
  if ((st.st_mode & 0700) != 0700) fchmodat(dir, name.c_str(), 0700, 0);
  UniqueFd top(openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!top && errno == ENOENT) return;
  if (!top) fail_errno("remove {}", name);
  Removal removal{top.get(), st.st_dev, {}};
  remove_contents(top.get(), removal, 1, name);
  for (size_t i = 0; i < removal.moved_up.size(); i++) {
    std::string deep = removal.moved_up[i];
    UniqueFd child(openat(top.get(), deep.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!child) fail_errno("remove {}/{}", name, deep);
    remove_contents(child.get(), removal, 2, name + "/" + deep);
    if (unlinkat(top.get(), deep.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT)
      fail_errno("remove {}/{}", name, deep);
  }
  if (unlinkat(dir, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) fail_errno("remove {}", name);
}

void remove_tree(const std::string& path) {
  remove_tree_at(AT_FDCWD, path);
}

void make_directories_on_host(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) == 0 || errno == EEXIST) {
    struct stat st;
    if (stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) return;
    throw errno_error(ENOTDIR, "make directory " + path);
  }
  if (errno != ENOENT) fail_errno("make directory {}", path);
  std::string parent = HostPath{path}.parent();
  if (parent == path) fail_errno("make directory {}", path);
  make_directories_on_host(parent, mode);
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST) fail_errno("make directory {}", path);
}

bool path_exists(const std::string& path) {
  struct stat st;
  return lstat(path.c_str(), &st) == 0;
}

bool rename_if_free(const std::string& from, const std::string& to) {
  int result = renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE);
  // A file system without the flag.
  if (result != 0 && errno == EINVAL) result = rename(from.c_str(), to.c_str());
  if (result != 0 && errno != EEXIST && errno != ENOTEMPTY) fail_errno("rename {} to {}", from, to);
  return result == 0;
}

}  // namespace corten
