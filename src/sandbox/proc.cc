// /proc and /sys, and what of them is hidden or read-only, as Docker has it (moby, oci/defaults.go:
// MaskedPaths, ReadonlyPaths), and a few more names that tell about the machine.
//
// All of it is found beneath the mounts that we have just made, by descriptor: nothing that an image holds (a
// /proc that is a link, say) can lead a mask elsewhere. A machine that is itself a container may refuse fresh
// ones; then its own are bound.
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include <fmt/core.h>

#include "sandbox/kernel.h"
#include "sandbox/plan.h"

namespace corten::sandbox {

namespace {

constexpr const char* kMaskedProc[] = {"acpi",       "asound",        "interrupts",  "kcore",
                                       "keys",       "latency_stats", "scsi",        "sched_debug",
                                       "slabinfo",   "timer_list",    "timer_stats", "vmallocinfo",
                                       "kpagecount", "kpageflags",    "kpagecgroup"};
constexpr const char* kMaskedSys[] = {"firmware", "devices/virtual/powercap"};
constexpr const char* kReadOnlyProc[] = {"bus", "fs", "irq", "sys", "sysrq-trigger"};
constexpr uint64_t kPlain = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

int fresh(const char* type, uint64_t attributes) {
  int context = static_cast<int>(syscall(SYS_fsopen, type, FSOPEN_CLOEXEC));
  if (context < 0) return -errno;
  int mount = -1;
  syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "source", type, 0);  // as /proc/mounts shows it
  if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0)
    mount = static_cast<int>(syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes));
  int result = mount >= 0 ? mount : -errno;
  close(context);
  return result;
}

int bound(const char* path, uint64_t attributes) {
  int tree = static_cast<int>(
      syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
  if (tree < 0) return -errno;
  mount_attr attr{};
  attr.attr_set = attributes;
  if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr) == 0)
    return tree;
  int error = errno;
  close(tree);
  return -error;
}

// The place must be a real directory of the root, or absent. Gives a descriptor or -errno.
int plain_directory(const Child& child, const char* name) {
  int fd = open_beneath_root(child.root, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
  if (fd < 0 && errno == ENOENT && mkdirat(child.root, name, 0755) == 0)
    fd = open_beneath_root(child.root, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
  return fd >= 0 ? fd : -errno;
}

// op.text: type and name, op.flags: attributes, op.yes: a fresh one is forbidden.
int attach_kernel_file_system(Child& child, const Operation& op, const char* name, const char* outside,
                              int& kept) {
  int place = plain_directory(child, name);
  if (place < 0) return place;
  int mount = op.yes ? -EPERM : fresh(op.text.c_str(), op.flags);
  if (mount == -EPERM || mount == -EACCES || mount == -EBUSY) mount = bound(outside, op.flags);
  int result = mount;
  if (mount >= 0)
    result =
        syscall(SYS_move_mount, mount, "", place, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0
            ? 0
            : -errno;
  close(place);
  kept = mount;
  return result;
}

int attach_proc(Child& child, const Operation& op) {
  return attach_kernel_file_system(child, op, "proc", "/proc", child.proc);
}
int attach_sys(Child& child, const Operation& op) {
  return attach_kernel_file_system(child, op, "sys", "/sys", child.sys);
}

// Limits are read there by runtimes that size themselves; where the machine has no cgroup 2 there is nothing
// to show.
int attach_cgroup(Child& child, const Operation& op) {
  int mount = fresh("cgroup2", op.flags);
  if (mount < 0) return 0;
  syscall(SYS_move_mount, mount, "", child.sys, "fs/cgroup", MOVE_MOUNT_F_EMPTY_PATH);
  close(mount);
  return 0;
}

int mask(Child& child, const Operation& op) {
  const int base = op.yes ? child.sys : child.proc;
  int place = open_beneath_root(base, op.text.c_str(), O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
  if (place < 0) return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
  struct stat st;
  int tree = -1, result = 0;
  if (fstat(place, &st) != 0) result = -errno;
  if (result == 0) {
    const bool directory = S_ISDIR(st.st_mode);
    tree = static_cast<int>(syscall(SYS_open_tree, directory ? child.files : child.dev,
                                    directory ? "empty" : "null", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
    mount_attr attr{};
    attr.attr_set = directory ? MOUNT_ATTR_RDONLY | kPlain : MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
    if (tree < 0 || syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof attr) != 0 ||
        syscall(SYS_move_mount, tree, "", place, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0)
      result = -errno;
  }
  if (tree >= 0) close(tree);
  close(place);
  return result;
}

int make_read_only(Child& child, const Operation& op) {
  int tree = static_cast<int>(syscall(SYS_open_tree, child.proc, op.text.c_str(),
                                      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
  if (tree < 0) return errno == ENOENT ? 0 : -errno;
  mount_attr attr{};
  attr.attr_set = MOUNT_ATTR_RDONLY | kPlain;
  int result = 0;
  if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr) != 0 ||
      syscall(SYS_move_mount, tree, "", child.proc, op.text.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0)
    result = -errno;
  close(tree);
  return result;
}

}  // namespace

void plan_proc(const Spec&, Plan& plan) {
  Operation op{.apply = attach_proc, .what = "mount /proc", .text = "proc"};
  op.flags = kPlain;
  op.yes = is_forbidden(Feature::kFreshProc);
  plan.add(std::move(op));
}

void plan_sys(const Spec& spec, Plan& plan) {
  Operation op{.apply = attach_sys, .what = "mount /sys", .text = "sysfs"};
  op.flags = kPlain | (spec.security == Security::kInsecure ? 0 : MOUNT_ATTR_RDONLY);
  op.yes = is_forbidden(Feature::kFreshSysfs);
  Operation cgroup{.apply = attach_cgroup, .what = "mount /sys/fs/cgroup"};
  cgroup.flags = op.flags;
  plan.add(std::move(op));
  plan.add(std::move(cgroup));
}

void plan_masks(const Spec& spec, Plan& plan) {
  if (spec.security == Security::kInsecure) return;
  auto hide = [&](std::string name, bool sys) {
    Operation op{.apply = mask, .what = fmt::format("hide /{}/{}", sys ? "sys" : "proc", name), .text = name};
    op.yes = sys;
    plan.add(std::move(op));
  };
  for (const char* name : kReadOnlyProc)
    plan.add({.apply = make_read_only, .what = fmt::format("make /proc/{} read-only", name), .text = name});
  for (const char* name : kMaskedProc) hide(name, false);
  for (const char* name : kMaskedSys) hide(name, true);
  for (int cpu = 0; cpu < 4096; cpu++) {
    const std::string name = fmt::format("devices/system/cpu/cpu{}", cpu);
    if (access(("/sys/" + name).c_str(), F_OK) != 0) break;
    if (access(("/sys/" + name + "/thermal_throttle").c_str(), F_OK) == 0)
      hide(name + "/thermal_throttle", true);
  }
}

}  // namespace corten::sandbox
