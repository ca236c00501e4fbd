// Stacks of layers.
//
// A layer is given by descriptor wherever the kernel takes one: then no byte of its name matters (':', ',',
// '\' all mean something in the strings) and no name can be exchanged between check and mount. Three ways,
// best first:
//   lowerdir+ with FSCONFIG_SET_FD   6.13
//   lowerdir+ with /proc/self/fd/N   6.5
//   mount(2) with lowerdir=/proc/self/fd/N:...  one page of options, so some 200 layers; the mount is made at
//   a place of
//                                    ours, cloned off it and taken away again, since mount(2) gives no
//                                    descriptor.
// A lower that stands alone without an upper is refused by the kernel; an upper is therefore always there, in
// memory if need be, and a root without one is made read-only later, when its mount points have been made.
// Kernel: Documentation/filesystems/overlayfs.rst.
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/temp_dir.h"
#include "sandbox/detached.h"
#include "sandbox/kernel.h"

namespace corten::sandbox {

namespace {

constexpr size_t kMaxLowers = 500;  // the kernel's OVL_MAX_STACK
constexpr size_t kMaxOptionBytes = 4095;

struct Layers {
  std::vector<UniqueFd> lowers;
  UniqueFd upper, work;
  UniqueFd memory, empty;  // what was made for them
};

std::string fd_path(int fd) {
  return fmt::format("/proc/self/fd/{}", fd);
}

UniqueFd subdirectory(int parent, const char* name, std::string_view what) {
  if (mkdirat(parent, name, 0755) != 0) fail_errno("{}: make {}", what, name);
  UniqueFd fd(openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) fail_errno("{}: open {}", what, name);
  return fd;
}

Layers open_layers(const OverlayOptions& options, std::string_view what) {
  if (options.lowers.size() > kMaxLowers)
    fail(ErrorCode::kUnsupported, "{}: {} layers; the kernel takes {}", what, options.lowers.size(),
         kMaxLowers);
  Layers layers;
  for (const Source& source : options.lowers) {
    UniqueFd fd = open_source(source, what);
    struct stat st;
    if (fstat(fd.get(), &st) != 0) fail_errno("{}: {}", what, source.path.value);
    if (!S_ISDIR(st.st_mode)) fail(ErrorCode::kInvalid, "{}: {} is not a directory", what, source.path.value);
    layers.lowers.push_back(std::move(fd));
  }
  if (layers.lowers.empty()) {
    layers.empty = make_tmpfs({.size_bytes = 4096, .mode = 0755, .attributes = 0}, what);
    layers.lowers.push_back(subdirectory(layers.empty.get(), "lower", what));
  }
  if (options.upper.value.empty()) {
    layers.memory = make_tmpfs({.size_bytes = options.memory_bytes, .mode = 0755, .attributes = 0}, what);
    layers.upper = subdirectory(layers.memory.get(), "upper", what);
    layers.work = subdirectory(layers.memory.get(), "work", what);
    struct stat st;  // what is mounted has the attributes of the upper; they shall be those of the top layer
    if (fstat(layers.lowers.front().get(), &st) != 0 ||
        fchown(layers.upper.get(), st.st_uid, st.st_gid) != 0 ||
        fchmod(layers.upper.get(), st.st_mode & 07777) != 0)
      fail_errno("{}: give the upper its owner and mode", what);
  } else {
    layers.upper = open_source({.path = options.upper, .fd = -1}, what);
    layers.work = open_source({.path = options.work, .fd = -1}, what);
  }
  return layers;
}

// The kernel's own words, when it left some in the context ("e overlay: ..."): the errno alone is always
// EINVAL.
std::string kernel_words(int context) {
  char buffer[512];
  std::string words;
  for (int i = 0; i < 8; i++) {
    ssize_t n = read(context, buffer, sizeof buffer);
    if (n <= 0) break;
    std::string_view line(buffer, static_cast<size_t>(n));
    if (line.size() > 2 && line[1] == ' ') line.remove_prefix(2);
    while (!line.empty() && line.back() == '\n') line.remove_suffix(1);
    words += (words.empty() ? " (" : "; ") + std::string(line);
  }
  return words.empty() ? words : words + ")";
}

[[noreturn]] void fail_overlay(int error, const OverlayOptions& options, std::string_view what,
                               const std::string& words) {
  Error failure = errno_error(
      error, fmt::format("{}: mount an overlay of {} layers{}", what, options.lowers.size(), words));
  if (error == EINVAL && !options.upper.value.empty())
    failure.set_hint(
        "the upper directory cannot lie on an overlay or a network file system: put the store elsewhere, "
        "such as a volume "
        "(CORTEN_STORE=DIR), or see 'corten doctor'");
  throw failure;
}

enum class Way { kFd, kPath };

// Empty when the kernel does not know that way.
std::optional<UniqueFd> mount_by_context(const OverlayOptions& options, const Layers& layers, Way way,
                                         std::string_view what) {
  UniqueFd context(static_cast<int>(syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC)));
  if (!context) fail_errno("{}: open the overlay file system", what);
  auto set = [&](const char* key, int fd) {
    if (way == Way::kFd) return syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_FD, key, nullptr, fd) == 0;
    return syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_STRING, key, fd_path(fd).c_str(), 0) == 0;
  };
  auto set_flag = [&](const char* key) {
    if (syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_FLAG, key, nullptr, 0) != 0)
      fail_overlay(errno, options, what, kernel_words(context.get()));
  };
  syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_STRING, "source", "corten", 0);
  bool first = true;
  for (const UniqueFd& lower : layers.lowers) {
    if (!set("lowerdir+", lower.get())) {
      if (first && (errno == EINVAL || errno == EOPNOTSUPP)) return std::nullopt;
      fail_overlay(errno, options, what, kernel_words(context.get()));
    }
    first = false;
  }
  if (!set("upperdir", layers.upper.get()) || !set("workdir", layers.work.get()))
    fail_overlay(errno, options, what, kernel_words(context.get()));
  set_flag("userxattr");
  set_flag("volatile");
  if (syscall(SYS_fsconfig, context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    int error = errno;
    fail_overlay(error, options, what, kernel_words(context.get()));
  }
  UniqueFd mount(static_cast<int>(syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, options.attributes)));
  if (!mount) fail_overlay(errno, options, what, {});
  return mount;
}

UniqueFd mount_by_options(const OverlayOptions& options, const Layers& layers, std::string_view what) {
  std::string text = "userxattr,volatile,lowerdir=";
  for (size_t i = 0; i < layers.lowers.size(); i++)
    text += (i == 0 ? "" : ":") + fd_path(layers.lowers[i].get());
  text += fmt::format(",upperdir={},workdir={}", fd_path(layers.upper.get()), fd_path(layers.work.get()));
  if (text.size() > kMaxOptionBytes)
    fail(ErrorCode::kUnsupported, "{}: {} layers are too many for this kernel (Linux 6.5 takes 500)", what,
         layers.lowers.size());
  TempDir place = TempDir::make("/tmp", "corten-overlay-");
  if (mount("corten", place.path().c_str(), "overlay", 0, text.c_str()) != 0)
    fail_overlay(errno, options, what, {});
  UniqueFd tree(static_cast<int>(
      syscall(SYS_open_tree, AT_FDCWD, place.path().c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  int error = errno;
  umount2(place.path().c_str(), MNT_DETACH);
  if (!tree) fail_overlay(error, options, what, {});
  set_attributes(tree.get(), options.attributes, what);
  return tree;
}

}  // namespace

UniqueFd make_overlay(const OverlayOptions& options, std::string_view what) {
  if (options.upper.value.empty() != options.work.value.empty())
    fail(ErrorCode::kInternal, "{}: an overlay has both an upper and a work directory, or none", what);
  const Layers layers = open_layers(options, what);
  if (!is_forbidden(Feature::kLowerdirPlus)) {
    if (!is_forbidden(Feature::kOverlayFd))
      if (auto mount = mount_by_context(options, layers, Way::kFd, what)) return std::move(*mount);
    if (auto mount = mount_by_context(options, layers, Way::kPath, what)) return std::move(*mount);
  }
  return mount_by_options(options, layers, what);
}

}  // namespace corten::sandbox
