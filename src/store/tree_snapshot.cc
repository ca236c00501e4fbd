#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "store/directory_body.h"

namespace corten::store {

static int64_t birth_at(int dir, const std::string& name) {
  struct statx st;
  if (statx(dir, name.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BTIME, &st) != 0 ||
      (st.stx_mask & STATX_BTIME) == 0)
    return 0;
  return st.stx_btime.tv_sec * 1'000'000'000 + st.stx_btime.tv_nsec;
}

int64_t TreeSnapshot::birth_of(const std::string& path) {
  return birth_at(AT_FDCWD, path);
}

TreeSnapshot::TreeSnapshot(const std::string& root) {
  visit(root, RootfsPath());
}

void TreeSnapshot::visit(const std::string& host, const RootfsPath& directory) {
  UniqueFd fd = open_file(host, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  DIR* stream = fdopendir(fd.get());
  if (!stream) fail_errno("read {}", directory.absolute());
  const int dir = fd.release();
  std::vector<std::string> names, directories;
  while (const dirent* item = readdir(stream)) {
    const std::string name = item->d_name;
    if (name == "." || name == "..") continue;
    struct stat st;
    if (fstatat(dir, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      const int error = errno;
      closedir(stream);
      throw errno_error(error, directory.child(name).absolute());
    }
    if (S_ISSOCK(st.st_mode)) continue;
    seen_[directory.child(name).str()] = {.inode = st.st_ino,
                                          .born_ns = birth_at(dir, name),
                                          .size = st.st_size,
                                          .changed_ns = clamped_ns(st.st_ctim.tv_sec, st.st_ctim.tv_nsec),
                                          .modified_ns = clamped_ns(st.st_mtim.tv_sec, st.st_mtim.tv_nsec),
                                          .mode = st.st_mode,
                                          .uid = st.st_uid,
                                          .gid = st.st_gid};
    if (S_ISDIR(st.st_mode)) directories.push_back(name);
    names.push_back(name);
  }
  closedir(stream);
  std::sort(names.begin(), names.end());
  names_[directory.str()] = std::move(names);
  for (const std::string& name : directories) visit(host + "/" + name, directory.child(name));
}

const TreeSnapshot::Seen* TreeSnapshot::find(const RootfsPath& path) const {
  const auto found = seen_.find(path.str());
  return found == seen_.end() ? nullptr : &found->second;
}

const std::vector<std::string>& TreeSnapshot::names(const RootfsPath& directory) const {
  static const std::vector<std::string> none;
  const auto found = names_.find(directory.str());
  return found == names_.end() ? none : found->second;
}

}  // namespace corten::store
