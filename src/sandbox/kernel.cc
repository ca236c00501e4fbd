#include "sandbox/kernel.h"

#include <array>
#include <cstdlib>
#include <string>

#include "base/strings.h"

namespace corten::sandbox {

namespace {
constexpr std::array kFeatures = {
    Feature::kPrivilegedMounts, Feature::kUserNamespace, Feature::kIdRange,       Feature::kChroot,
    Feature::kOverlay,          Feature::kUpperOnStore,  Feature::kUpperInMemory, Feature::kSeccompNotify,
    Feature::kWaitKillable,     Feature::kLowerdirPlus,  Feature::kOverlayFd,     Feature::kLandlockScope,
    Feature::kLandlockTree,     Feature::kFreshProc,     Feature::kFreshSysfs,    Feature::kMknod,
    Feature::kEmulation};

uint32_t read_forbidden() {
  const char* text = getenv("CORTEN_FORBID");
  uint32_t bits = 0;
  if (text == nullptr) return bits;
  for (const std::string& word : split(text, ','))
    for (Feature feature : kFeatures)
      if (trim(word) == feature_name(feature)) bits |= 1u << static_cast<unsigned>(feature);
  return bits;
}
}  // namespace

std::string_view feature_name(Feature feature) {
  switch (feature) {
    case Feature::kPrivilegedMounts:
      return "privileged-mounts";
    case Feature::kUserNamespace:
      return "user-namespace";
    case Feature::kIdRange:
      return "id-range";
    case Feature::kChroot:
      return "chroot";
    case Feature::kOverlay:
      return "overlay";
    case Feature::kUpperOnStore:
      return "upper-on-store";
    case Feature::kUpperInMemory:
      return "upper-in-memory";
    case Feature::kSeccompNotify:
      return "seccomp-notify";
    case Feature::kWaitKillable:
      return "wait-killable";
    case Feature::kLowerdirPlus:
      return "lowerdir+";
    case Feature::kOverlayFd:
      return "overlay-fd";
    case Feature::kLandlockScope:
      return "landlock-scope";
    case Feature::kLandlockTree:
      return "landlock-tree";
    case Feature::kFreshProc:
      return "fresh-proc";
    case Feature::kFreshSysfs:
      return "fresh-sysfs";
    case Feature::kMknod:
      return "mknod";
    case Feature::kEmulation:
      return "emulation";
  }
  return "";
}

std::span<const Feature> all_features() {
  return kFeatures;
}

bool is_forbidden(Feature feature) {
  static const uint32_t bits = read_forbidden();
  return (bits >> static_cast<unsigned>(feature) & 1) != 0;
}

}  // namespace corten::sandbox
