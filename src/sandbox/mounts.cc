// The root, what is mounted in it, and the change into it.
//
// The child first covers its old "/" with a tmpfs that holds the private files (resolv.conf, secrets), then
// covers that with the new root. Both go on the same place because it is the only one that surely exists;
// when pivot_root has exchanged the roots and the old one is unmounted, the tmpfs goes with it, and only the
// single files that were cloned off it stay.
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "sandbox/detached.h"
#include "sandbox/plan.h"
#include "sandbox/recorder.h"
#include "sandbox/target.h"

namespace corten::sandbox {

namespace {

int move_to(int tree, int directory, const char* path, unsigned to_flag) {
  return syscall(SYS_move_mount, tree, "", directory, path, MOVE_MOUNT_F_EMPTY_PATH | to_flag) == 0 ? 0
                                                                                                    : -errno;
}

int set_attribute_bits(int mount, uint64_t bits, unsigned flags) {
  if (bits == 0) return 0;
  mount_attr attr{};
  attr.attr_set = bits;
  return syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH | flags, &attr, sizeof attr) == 0 ? 0 : -errno;
}

int make_private(Child&, const Operation&) {
  return mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 ? 0 : -errno;
}

int attach_over_root(Child& child, const Operation& op) {
  if (op.yes) {
    child.root = op.fd;
    child.root_mount_id = mount_id_of(op.fd);
  }
  return move_to(op.fd, AT_FDCWD, "/", 0);
}

int attach_tree(Child& child, const Operation& op) {
  Target target;
  if (int result = resolve_target(child, op.text.c_str(), op.yes, true, target); result != 0) return result;
  int result = move_to(op.fd, target.fd, "", MOVE_MOUNT_T_EMPTY_PATH);
  close(target.fd);
  return result;
}

int attach_tmpfs(Child& child, const Operation& op) {
  Target target;
  if (int result = resolve_target(child, op.text.c_str(), true, true, target); result != 0) return result;
  mode_t mode = static_cast<mode_t>(op.number);
  if (struct stat st; op.yes && !target.made && fstat(target.fd, &st) == 0) mode = st.st_mode & 07777;
  int result = fchmodat(op.fd, ".", mode, 0) == 0 ? 0 : -errno;
  if (result == 0) result = set_attribute_bits(op.fd, op.flags, 0);
  if (result == 0) result = move_to(op.fd, target.fd, "", MOVE_MOUNT_T_EMPTY_PATH);
  close(target.fd);
  return result;
}

int attach_file(Child& child, const Operation& op) {
  Target target;
  if (int result = resolve_target(child, op.text.c_str(), false, true, target); result != 0) return result;
  int tree = static_cast<int>(
      syscall(SYS_open_tree, child.files, op.text2.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  int result = tree >= 0 ? set_attribute_bits(tree, op.flags, 0) : -errno;
  if (result == 0) result = move_to(tree, target.fd, "", MOVE_MOUNT_T_EMPTY_PATH);
  if (tree >= 0) close(tree);
  close(target.fd);
  return result;
}

int make_root_read_only(Child& child, const Operation&) {
  return set_attribute_bits(child.root, MOUNT_ATTR_RDONLY, 0);
}

// After the change the old root lies on the new one, and the private files on the old root; "." is always the
// topmost. Two are taken away, and what is then on top must be our root: anything else would be the
// machine's, open to the program.
int pivot(Child& child, const Operation&) {
  if (fchdir(child.root) != 0 || syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", MNT_DETACH) != 0 ||
      umount2(".", MNT_DETACH) != 0 || chdir("/") != 0)
    return -errno;
  int top = open("/..", O_PATH | O_CLOEXEC);
  if (top < 0) return -errno;
  const bool ours = mount_id_of(top) == child.root_mount_id;
  close(top);
  return ours ? 0 : -EXDEV;
}

uint64_t attribute_bits(const Mount& mount) {
  return (mount.read_only ? MOUNT_ATTR_RDONLY : 0) | (mount.no_exec ? MOUNT_ATTR_NOEXEC : 0) |
         (mount.no_suid ? MOUNT_ATTR_NOSUID : 0) | (mount.no_dev ? MOUNT_ATTR_NODEV : 0);
}

void plan_text(const Mount& mount, const std::string& what, Plan& plan) {
  Operation op{.apply = attach_file, .what = what, .text = mount.target.str()};
  op.text2 = plan.add_file(*mount.text, mount.text_mode, mount.text_uid, mount.text_gid, what);
  op.flags = attribute_bits(mount);
  plan.add(std::move(op));
}

void plan_bind(const Mount& mount, const std::string& what, Plan& plan) {
  UniqueFd tree = clone_tree(mount.source, what);
  struct stat st;
  if (fstat(tree.get(), &st) != 0) fail_errno("{}", what);
  if (S_ISLNK(st.st_mode))
    fail(ErrorCode::kInvalid, "{}: the source is a symbolic link that was not resolved", what);
  set_attributes(tree.get(), attribute_bits(mount), what);
  Operation op{.apply = attach_tree, .what = what, .text = mount.target.str()};
  op.yes = S_ISDIR(st.st_mode);
  op.fd = plan.keep(std::move(tree));
  plan.add(std::move(op));
}

void plan_tmpfs(const Mount& mount, const std::string& what, Plan& plan) {
  Operation op{.apply = attach_tmpfs, .what = what, .text = mount.target.str()};
  op.number = mount.mode.value_or(01777);
  op.yes = !mount.mode.has_value();
  op.flags = attribute_bits(mount);
  op.fd = plan.keep(make_tmpfs(
      {.size_bytes = mount.size_bytes, .mode = static_cast<mode_t>(op.number), .attributes = 0}, what));
  plan.add(std::move(op));
}

void plan_overlay(const Mount& mount, const std::string& what, Plan& plan) {
  OverlayOptions options{
      .lowers = {mount.source}, .upper = mount.upper, .work = mount.work, .memory_bytes = mount.size_bytes};
  options.attributes = attribute_bits(mount);
  Operation op{.apply = attach_tree, .what = what, .text = mount.target.str()};
  op.yes = true;
  op.fd = plan.keep(make_overlay(options, what));
  plan.add(std::move(op));
}

Mount etc_file(const char* path, const std::string& text) {
  Mount mount;
  mount.target = RootfsPath(path);
  mount.text = text;
  mount.text_mode = 0644;
  mount.read_only = true;
  return mount;
}

}  // namespace

std::string Plan::add_file(const std::string& text, mode_t mode, uid_t uid, gid_t gid,
                           std::string_view what) {
  std::string name = fmt::format("{}", file_count_++);
  UniqueFd fd(openat(files, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) fail_errno("{}: make a private file", what);
  write_fully(fd.get(), text, what);
  if (recorder != nullptr)
    recorder->record(fd.get(), {.uid = uid, .gid = gid});
  else if (!one_id && fchown(fd.get(), uid, gid) != 0)
    fail_errno("{}: give a private file to {}:{}", what, uid, gid);
  if (fchmod(fd.get(), mode) != 0) fail_errno("{}: set the mode of a private file", what);
  return name;
}

void plan_root(const Spec& spec, Plan& plan) {
  const std::string what = "mount the root file system";
  uint64_t text_bytes = 1 << 20;
  for (const Mount& mount : spec.mounts)
    if (mount.text) text_bytes += mount.text->size() + 8192;
  plan.one_id = spec.one_id;
  plan.recorder = spec.recorder;
  plan.files = plan.keep(
      make_tmpfs({.size_bytes = text_bytes, .mode = 0700, .attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV},
                 "private files"));
  if (mkdirat(plan.files, "empty", 0755) != 0) fail_errno("private files: make a directory");
  if (spec.root.plain.is_set())
    plan.root = plan.keep(clone_tree(spec.root.plain, what));
  else
    plan.root = plan.keep(make_overlay({.lowers = spec.root.lowers,
                                        .upper = spec.root.upper,
                                        .work = spec.root.work,
                                        .memory_bytes = std::nullopt,
                                        .attributes = 0},
                                       what));
  plan.add({.apply = make_private, .what = "make the mounts private"});
  Operation files{.apply = attach_over_root, .what = "attach the private files"};
  files.fd = plan.files;
  plan.add(std::move(files));
  Operation root{.apply = attach_over_root, .what = "attach the root file system"};
  root.fd = plan.root;
  root.yes = true;
  plan.add(std::move(root));
}

std::vector<Mount> mounts_in_order(const Spec& spec) {
  std::vector<Mount> mounts;
  if (spec.etc_hosts) mounts.push_back(etc_file("/etc/hosts", *spec.etc_hosts));
  if (spec.etc_resolv_conf) mounts.push_back(etc_file("/etc/resolv.conf", *spec.etc_resolv_conf));
  mounts.insert(mounts.end(), spec.mounts.begin(), spec.mounts.end());
  std::stable_sort(mounts.begin(), mounts.end(),
                   [](const Mount& a, const Mount& b) { return a.target < b.target; });
  return mounts;
}

void plan_mounts(const Spec& spec, Plan& plan) {
  for (const Mount& mount : mounts_in_order(spec)) {
    if (mount.target.is_root()) fail(ErrorCode::kInvalid, "invalid mount target \"/\"");
    const std::string what = fmt::format("mount {}", mount.target.absolute());
    if (mount.text)
      plan_text(mount, what, plan);
    else if (mount.kind == Mount::Kind::kBind)
      plan_bind(mount, what, plan);
    else if (mount.kind == Mount::Kind::kTmpfs)
      plan_tmpfs(mount, what, plan);
    else
      plan_overlay(mount, what, plan);
  }
  const bool in_memory = !spec.root.plain.is_set() && spec.root.upper.value.empty();
  if (spec.root.read_only || in_memory)
    plan.add({.apply = make_root_read_only, .what = "make the root read-only"});
}

void plan_pivot(const Spec&, Plan& plan) {
  plan.add({.apply = pivot, .what = "change the root"});
}

}  // namespace corten::sandbox
