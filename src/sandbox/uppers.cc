#include "sandbox/uppers.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>

#include "base/beneath.h"
#include "base/error.h"
#include "base/temp_dir.h"
#include "sandbox/detached.h"
#include "sandbox/kernel.h"

namespace corten::sandbox {

namespace {

// A whiteout is made by hand too, as bodies of layers need it: the kernel refuses that on an overlay.
void try_overlay(const std::string& place) {
  for (const char* name : {"lower", "lower/dir", "upper", "work"})
    make_directories_on_host(place + "/" + name);
  if (mknod((place + "/lower/gone").c_str(), S_IFCHR, makedev(0, 0)) != 0) fail_errno("make a whiteout");
  UniqueFd mount = make_overlay({.lowers = {{.path = {place + "/lower"}, .fd = -1}},
                                 .upper = {place + "/upper"},
                                 .work = {place + "/work"},
                                 .memory_bytes = std::nullopt,
                                 .attributes = 0},
                                "overlay");
  // The trap of a plain overlay in a user namespace: it mounts, and this fails.
  if (unlinkat(mount.get(), "dir", AT_REMOVEDIR) != 0 || mkdirat(mount.get(), "dir", 0755) != 0)
    fail_errno("replace a directory");
}

}  // namespace

std::string_view uppers_name(Uppers uppers) {
  switch (uppers) {
    case Uppers::kOnStore:
      return "overlays on the store";
    case Uppers::kInMemory:
      return "overlays in memory";
    case Uppers::kCopied:
      break;
  }
  return "copied directories";
}

FoundUppers find_uppers(const Entered& entered, const HostPath& directory) {
  FoundUppers found;
  auto note = [&](const Error& error, std::string climb) {
    if (!found.why.empty()) return;
    found.why = error.what();
    found.climb = std::move(climb);
  };
  const char* climb =
      "put the store on a volume that is neither an overlay nor on a network (CORTEN_STORE=DIR; in "
      "Kubernetes an "
      "emptyDir, in Docker -v)";
  try {
    if (!entered.has_namespaces()) fail(ErrorCode::kUnsupported, "nothing can be mounted");
    if (is_forbidden(Feature::kOverlay))
      fail(ErrorCode::kUnsupported, "overlays are forbidden by CORTEN_FORBID");
    if (is_forbidden(Feature::kUpperOnStore)) fail(ErrorCode::kUnsupported, "forbidden by CORTEN_FORBID");
    TempDir place = TempDir::make(directory.value, ".uppers-");
    try_overlay(place.path());
    return {};
  } catch (const Error& error) {
    note(error, entered.has_namespaces() ? climb : "see privilege");
  }
  found.uppers = Uppers::kInMemory;
  try {
    if (!entered.has_namespaces() || is_forbidden(Feature::kOverlay) || is_forbidden(Feature::kUpperInMemory))
      fail(ErrorCode::kUnsupported, "forbidden");
    TempDir place = TempDir::make(directory.value, ".uppers-");
    mount_memory({place.path()});
    try {
      try_overlay(place.path());
    } catch (const Error&) {
      unmount({place.path()});
      throw;
    }
    unmount({place.path()});
    return found;
  } catch (const Error& error) {
    note(error, climb);
  }
  found.uppers = Uppers::kCopied;
  return found;
}

}  // namespace corten::sandbox
