// /dev: a small tmpfs with the devices that every program may expect (OCI runtime spec, "Default Devices").
//
// Real root makes the nodes: a bind of the machine's /dev/null would let a step chmod it for everyone.
// Elsewhere the kernel refuses nodes; a bind is made read-only then, which leaves the device writable and its
// mode and owner not.
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "sandbox/detached.h"
#include "sandbox/kernel.h"
#include "sandbox/plan.h"
#include "sandbox/target.h"

namespace corten::sandbox {

namespace {

struct Device {
  const char* name;
  unsigned major, minor;
};
constexpr Device kDevices[] = {{"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
                               {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
struct Link {
  const char *name, *text;
};
constexpr Link kLinks[] = {{"fd", "/proc/self/fd"},       {"stdin", "/proc/self/fd/0"},
                           {"stdout", "/proc/self/fd/1"}, {"stderr", "/proc/self/fd/2"},
                           {"ptmx", "pts/ptmx"},          {"core", "/proc/kcore"}};
constexpr gid_t kTtyGroup = 5;

int attach_dev(Child& child, const Operation& op) {
  child.dev = op.fd;
  Target target;
  if (int result = resolve_target(child, "dev", true, false, target); result != 0) return result;
  int result = syscall(SYS_move_mount, op.fd, "", target.fd, "",
                       MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0
                   ? 0
                   : -errno;
  close(target.fd);
  return result;
}

// Binds onto a name in our own /dev, which holds nothing that an image could have put there.
int attach_in_dev(Child& child, const Operation& op) {
  return syscall(SYS_move_mount, op.fd, "", child.dev, op.text.c_str(), MOVE_MOUNT_F_EMPTY_PATH) == 0
             ? 0
             : -errno;
}

// POSIX message queues belong to the IPC namespace of whoever opens the file system, so the child does.
int attach_mqueue(Child& child, const Operation&) {
  int context = static_cast<int>(syscall(SYS_fsopen, "mqueue", FSOPEN_CLOEXEC));
  if (context < 0) return errno == ENODEV ? 0 : -errno;  // a kernel without them
  int result = 0, mount = -1;
  if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0 ||
      (mount = static_cast<int>(syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC,
                                        MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC))) < 0 ||
      syscall(SYS_move_mount, mount, "", child.dev, "mqueue", MOVE_MOUNT_F_EMPTY_PATH) != 0)
    result = -errno;
  if (mount >= 0) close(mount);
  close(context);
  return result;
}

UniqueFd make_devpts() {
  for (bool with_group : {true, false}) {  // the group is refused where it is not mapped
    UniqueFd context(static_cast<int>(syscall(SYS_fsopen, "devpts", FSOPEN_CLOEXEC)));
    if (!context) fail_errno("mount /dev/pts");
    auto set = [&](const char* key, const char* value) {
      return syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_STRING, key, value, 0) == 0;
    };
    bool ok = syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_FLAG, "newinstance", nullptr, 0) == 0 &&
              set("ptmxmode", "0666") && set("mode", "0620");
    if (with_group) ok = ok && set("gid", fmt::format("{}", kTtyGroup).c_str());
    ok = ok && syscall(SYS_fsconfig, context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0;
    if (!ok && with_group) continue;
    if (!ok) break;
    UniqueFd mount(static_cast<int>(
        syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC)));
    if (!mount) break;
    return mount;
  }
  fail_errno("mount /dev/pts");
}

// A bind of the machine's node, on a /dev where no other can be opened. On a machine without a /dev (we run
// in an image that is empty) the nodes are made, and the step loses CAP_MKNOD instead.
void make_node(const Device& device, Plan& plan) {
  const std::string path = fmt::format("/dev/{}", device.name);
  if (plan.makes_nodes) {
    if (mknodat(plan.dev, device.name, S_IFCHR | 0666, makedev(device.major, device.minor)) != 0 ||
        fchmodat(plan.dev, device.name, 0666, 0) != 0)
      fail_errno("make {}", path);
    return;
  }
  UniqueFd file(openat(plan.dev, device.name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!file) fail_errno("make {}", path);
  Operation op{.apply = attach_in_dev, .what = "mount " + path, .text = device.name};
  UniqueFd tree = clone_tree({.path = {path}, .fd = -1}, op.what);
  set_attributes(tree.get(), MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, op.what);
  op.fd = plan.keep(std::move(tree));
  plan.add(std::move(op));
}

void attach_directory(const char* name, UniqueFd mount, Plan& plan) {
  if (mkdirat(plan.dev, name, 0755) != 0) fail_errno("make /dev/{}", name);
  Operation op{.apply = attach_in_dev, .what = fmt::format("mount /dev/{}", name), .text = name};
  op.fd = plan.keep(std::move(mount));
  plan.add(std::move(op));
}

}  // namespace

void for_each_device(const std::function<void(const char*, unsigned, unsigned)>& visit) {
  for (const Device& device : kDevices) visit(device.name, device.major, device.minor);
}

void plan_devices(const Spec& spec, Plan& plan) {
  plan.makes_nodes = access("/dev/null", F_OK) != 0;
  const uint64_t nodes = plan.makes_nodes ? 0 : plan.node_attributes;
  plan.dev = plan.keep(make_tmpfs(
      {.size_bytes = 65536, .mode = 0755, .attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME | nodes},
      "mount /dev"));
  Operation attach{.apply = attach_dev, .what = "mount /dev"};
  attach.fd = plan.dev;
  plan.add(std::move(attach));
  for (const Device& device : kDevices) make_node(device, plan);
  for (const Link& link : kLinks) {
    if (link.text == std::string_view("/proc/kcore") && access(link.text, F_OK) != 0)
      continue;  // as runc does
    if (symlinkat(link.text, plan.dev, link.name) != 0) fail_errno("make /dev/{}", link.name);
  }
  attach_directory("pts", make_devpts(), plan);
  attach_directory("shm",
                   make_tmpfs({.size_bytes = spec.shm_bytes,
                               .mode = 01777,
                               .attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC},
                              "mount /dev/shm"),
                   plan);
  if (mkdirat(plan.dev, "mqueue", 0755) != 0) fail_errno("make /dev/mqueue");
  plan.add({.apply = attach_mqueue, .what = "mount /dev/mqueue"});
}

}  // namespace corten::sandbox
