// The walk goes name by name over a path that is known to hold no link; a link's text is put in front of what
// is left to walk. (openat2 alone cannot say where a dangling link would have led, and /etc/resolv.conf often
// is one.) Nobody else is in the tree yet, so there is nothing to race with; binds of live directories can
// change, and then RESOLVE_IN_ROOT with RESOLVE_NO_SYMLINKS still keeps every step inside.
#include "sandbox/target.h"

#include <fcntl.h>
#include <linux/stat.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "sandbox/kernel.h"

namespace corten::sandbox {

namespace {

constexpr size_t kMaxPath = 4096;
constexpr int kMaxLinks = 40;

struct Walk {
  char rest[2 * kMaxPath];  // what is left to walk
  char done[kMaxPath];      // walked, without links; "" is the root
  size_t done_size = 0;
};

bool put_in_front(Walk& walk, const char* text, size_t text_size, const char* rest) {
  const size_t rest_size = strlen(rest);
  if (text_size + 1 + rest_size + 1 > sizeof walk.rest) return false;
  memmove(walk.rest + text_size + 1, rest, rest_size + 1);
  memcpy(walk.rest, text, text_size);
  walk.rest[text_size] = '/';
  return true;
}

void pop(Walk& walk) {
  while (walk.done_size > 0 && walk.done[walk.done_size - 1] != '/') walk.done_size--;
  if (walk.done_size > 0) walk.done_size--;
  walk.done[walk.done_size] = 0;
}

void note_stub(Child& child, char kind, const char* path, int fd) {
  if (mount_id_of(fd) != child.root_mount_id) return;  // in a cache or a tmpfs: none of the layer's business
  Report& report = *child.report;
  const size_t size = strlen(path) + 1;
  if (report.stubs_size + 1 + size > sizeof report.stubs) return;
  report.stubs[report.stubs_size] = kind;
  memcpy(report.stubs + report.stubs_size + 1, path, size);
  report.stubs_size += 1 + size;
}

int open_done(const Child& child, const Walk& walk, uint64_t flags) {
  return open_beneath_root(child.root, walk.done_size == 0 ? "." : walk.done, flags, RESOLVE_NO_SYMLINKS);
}

// Makes the last name of walk.done, whose parent is there.
int make_one(Child& child, Walk& walk, bool directory, bool note) {
  size_t cut = walk.done_size;
  while (cut > 0 && walk.done[cut - 1] != '/') cut--;
  const char* name = walk.done + cut;
  int parent;
  if (cut == 0) {
    parent = open_beneath_root(child.root, ".", O_PATH | O_DIRECTORY);
  } else {
    walk.done[cut - 1] = 0;
    parent = open_beneath_root(child.root, walk.done, O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS);
    walk.done[cut - 1] = '/';
  }
  if (parent < 0) return -errno;
  int result = 0;
  if (directory) {
    if (mkdirat(parent, name, 0755) != 0) result = -errno;
  } else {
    int fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
      result = -errno;
    else
      close(fd);
  }
  if (result == 0 && note) note_stub(child, directory ? 'd' : 'f', walk.done, parent);
  close(parent);
  return result;
}

int walk_and_make(Child& child, const char* path, bool directory, bool note, Target& target) {
  Walk walk;
  if (strlen(path) >= kMaxPath) return -ENAMETOOLONG;
  strcpy(walk.rest, path);
  walk.done[0] = 0;
  const char* rest = walk.rest;
  int links = 0;
  while (true) {
    while (*rest == '/') rest++;
    if (*rest == 0) break;
    const char* end = strchrnul(rest, '/');
    const size_t size = static_cast<size_t>(end - rest);
    const char* after = end;
    while (*after == '/') after++;
    const bool last = *after == 0;
    if (size == 1 && rest[0] == '.') {
      rest = end;
      continue;
    }
    if (size == 2 && rest[0] == '.' && rest[1] == '.') {
      pop(walk);
      rest = end;
      continue;
    }
    if (walk.done_size + 1 + size + 1 > sizeof walk.done) return -ENAMETOOLONG;
    if (walk.done_size > 0) walk.done[walk.done_size++] = '/';
    memcpy(walk.done + walk.done_size, rest, size);
    walk.done_size += size;
    walk.done[walk.done_size] = 0;

    int fd = open_done(child, walk, O_PATH | O_NOFOLLOW);
    if (fd < 0) {
      if (errno != ENOENT) return -errno;
      if (int result = make_one(child, walk, !last || directory, note); result != 0) return result;
      target.made = true;
      rest = end;
      continue;
    }
    struct stat st;
    if (fstat(fd, &st) != 0) {
      int error = errno;
      close(fd);
      return -error;
    }
    if (S_ISLNK(st.st_mode)) {
      if (++links > kMaxLinks) {
        close(fd);
        return -ELOOP;
      }
      char text[kMaxPath];
      ssize_t n = readlinkat(fd, "", text, sizeof text);
      close(fd);
      if (n <= 0 || n == static_cast<ssize_t>(sizeof text)) return -ENAMETOOLONG;
      if (text[0] == '/') {
        walk.done_size = 0;
        walk.done[0] = 0;
      } else
        pop(walk);
      if (!put_in_front(walk, text, static_cast<size_t>(n), end)) return -ENAMETOOLONG;
      rest = walk.rest;
      continue;
    }
    close(fd);
    if (!last && !S_ISDIR(st.st_mode)) return -ENOTDIR;
    rest = end;
  }
  target.fd = open_done(child, walk, O_PATH);
  return target.fd < 0 ? -errno : 0;
}

}  // namespace

uint64_t mount_id_of(int fd) {
  struct statx st;
  if (statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_MNT_ID, &st) != 0) return UINT64_MAX;
  return st.stx_mnt_id;
}

int resolve_target(Child& child, const char* path, bool directory, bool note, Target& target) {
  target.fd = open_beneath_root(child.root, path, O_PATH);
  if (target.fd < 0) {
    if (errno != ENOENT) return -errno;
    if (int result = walk_and_make(child, path, directory, note, target); result != 0) return result;
  }
  struct stat st;
  if (fstat(target.fd, &st) != 0 || S_ISDIR(st.st_mode) != directory) {
    close(target.fd);
    target.fd = -1;
    return directory ? -ENOTDIR : -EISDIR;
  }
  return 0;
}

}  // namespace corten::sandbox
