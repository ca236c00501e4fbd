#include "sandbox/detached.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"

namespace corten::sandbox {

UniqueFd make_tmpfs(const TmpfsOptions& options, std::string_view what) {
  UniqueFd context(static_cast<int>(syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC)));
  if (!context) fail_errno("{}: make a file system in memory", what);
  auto set = [&](const char* key, const std::string& value) {
    if (syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_STRING, key, value.c_str(), 0) != 0)
      fail_errno("{}: file system in memory: {}={}", what, key, value);
  };
  set("source", "tmpfs");
  set("mode", fmt::format("{:o}", options.mode));
  if (options.size_bytes) set("size", fmt::format("{}", *options.size_bytes));
  if (syscall(SYS_fsconfig, context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    fail_errno("{}: make a file system in memory", what);
  UniqueFd mount(static_cast<int>(syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, options.attributes)));
  if (!mount) fail_errno("{}: mount a file system in memory", what);
  return mount;
}

UniqueFd open_source(const Source& source, std::string_view what) {
  UniqueFd fd(source.fd >= 0 ? fcntl(source.fd, F_DUPFD_CLOEXEC, 3)
                             : open(source.path.c_str(), O_PATH | O_CLOEXEC));
  if (!fd) fail_errno("{}: open {}", what, source.fd >= 0 ? "its descriptor" : source.path.value);
  return fd;
}

UniqueFd clone_tree(const Source& source, std::string_view what) {
  const unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE;
  UniqueFd tree(static_cast<int>(source.fd >= 0
                                     ? syscall(SYS_open_tree, source.fd, "", flags | AT_EMPTY_PATH)
                                     : syscall(SYS_open_tree, AT_FDCWD, source.path.c_str(), flags)));
  if (!tree) fail_errno("{}: bind {}", what, source.fd >= 0 ? "its descriptor" : source.path.value);
  return tree;
}

void set_attributes(int mount, uint64_t attributes, std::string_view what) {
  if (attributes == 0) return;
  mount_attr attr{};
  attr.attr_set = attributes;
  if (syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr) != 0)
    fail_errno("{}: set mount attributes", what);
}

}  // namespace corten::sandbox
