// The kernel calls that are newer than 5.15, each behind a probe that a test can forbid.
//
// A feature is tried where it is used and the older way taken when it fails.
// CORTEN_FORBID=lowerdir+,overlay-fd makes the named ones fail everywhere, so that the older ways are tested
// on a new kernel.
#pragma once
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <span>
#include <string_view>

namespace corten::sandbox {

enum class Feature {
  // Rungs of the ladders (privilege.h): forbidding one shows the next.
  kPrivilegedMounts,  // "privileged-mounts": mounts as root of the machine
  kUserNamespace,     // "user-namespace"
  kIdRange,           // "id-range": more than one id in it
  kChroot,            // "chroot"
  kOverlay,           // "overlay": of any kind (uppers.h)
  kUpperOnStore,      // "upper-on-store"
  kUpperInMemory,     // "upper-in-memory"
  // Calls.
  kSeccompNotify,  // "seccomp-notify": calls answered by us (5.0); without it there is no rung with one id
  kWaitKillable,   // "wait-killable": and not asked anew after a signal (5.19)
  kLowerdirPlus,   // "lowerdir+": layers one by one (6.5)
  kOverlayFd,      // "overlay-fd": layers as descriptors (6.13)
  kLandlockScope,  // "landlock-scope": abstract sockets closed off (6.12, Landlock ABI 6)
  kLandlockTree,   // "landlock-tree": files outside of a chroot closed off (5.19, Landlock ABI 2)
  kFreshProc,      // "fresh-proc": a proc mount of our own (refused where an outer container masks its own)
  kFreshSysfs,     // "fresh-sysfs"
  kEmulation,      // "emulation": programs of other processors by binfmt_misc (in a user namespace: 6.7)
};
std::string_view feature_name(Feature feature);
std::span<const Feature> all_features();

// Named by CORTEN_FORBID. Read once; thread-safe.
bool is_forbidden(Feature feature);

// openat2(2); nothing is allocated. Links are followed below `root` only. EAGAIN means that somebody anywhere
// renamed or mounted something while ".." was looked up; the manual says to try again.
inline int open_beneath_root(int root, const char* path, uint64_t flags, uint64_t more_resolve = 0) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | more_resolve;
  long fd = -1;
  for (int attempt = 0; attempt < 1000; attempt++) {
    fd = syscall(SYS_openat2, root, path, &how, sizeof how);
    if (fd >= 0 || errno != EAGAIN) break;
  }
  return static_cast<int>(fd);
}

}  // namespace corten::sandbox
