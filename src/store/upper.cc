#include "store/upper.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

namespace corten::store {

std::vector<SpecialOwner> special_owners(const Tree& view, uint32_t uid, uint32_t gid) {
  std::vector<SpecialOwner> list;
  walk(view, RootfsPath(), [&](const Entry& e) {
    if ((e.type == EntryType::kSymlink || e.type == EntryType::kFifo) && (e.uid != uid || e.gid != gid))
      list.push_back({.path = e.path, .uid = e.uid, .gid = e.gid});
  });
  return list;
}

void make_upper(const std::string& upper, const Tree& view, const Owners& owners) {
  const Entry* root = view.find(RootfsPath());
  if (mkdir(upper.c_str(), 0755) != 0) fail_errno("make directory {}", upper);
  owners.give(AT_FDCWD, upper, {.uid = root->uid, .gid = root->gid}, "/");
  if (chmod(upper.c_str(), root->mode) != 0) fail_errno("set mode of {}", upper);
}

void make_working_directory(const std::string& upper, const RootfsPath& directory, const Tree& view,
                            const Owners& owners) {
  RootfsPath target = resolve_links(view, directory);
  if (target.is_root() || view.find(target)) return;
  RootfsPath made;
  for (const std::string& name : target.components()) {
    made = made.child(name);
    std::string path = upper + "/" + made.str();
    if (mkdir(path.c_str(), 0755) != 0) {
      if (errno == EEXIST && view.find(made)) continue;  // in a whole tree
      fail_errno("make working directory {}", made.absolute());
    }
    const Entry* there = view.find(made);
    owners.give(AT_FDCWD, path, {.uid = there ? there->uid : 0, .gid = there ? there->gid : 0},
                made.absolute());
    if (!there) continue;
    if (!there->is_directory())
      fail(ErrorCode::kInvalid, "working directory {}: {} is not a directory", directory.absolute(),
           made.absolute());
    if (chmod(path.c_str(), there->mode) != 0) fail_errno("make working directory {}", made.absolute());
  }
}

}  // namespace corten::store
