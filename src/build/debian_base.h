// `corten base`: a root file system and a config from locked Debian packages.
//
// distroless and busybox are only extracted (source/debian/extracted_rootfs.h). minbase is configured as
// debootstrap does it: the essential packages are extracted, and their own dpkg then installs them properly
// in our sandbox; what was included is installed by the image's apt on top, as a layer of its own, so that
// builder bases share the lower one. Both layers are actions, kept under the digests of their packages.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "build/run.h"
#include "oci/config.h"
#include "source/debian/recipe.h"
#include "store/layers.h"

namespace corten::build {

struct DebianBase {
  oci::ImageConfig config;  // without diff ids; image::assemble() fills them in
  store::Rootfs layers;
  std::string created;  // RFC 3339: the time of the newest entry of any package
  uint64_t size = 0;    // bytes of all files
};

struct DebianBaseProgress {
  std::function<void(std::string_view line)> note;
  std::function<void(int stream, std::string_view bytes)> output;  // of dpkg and apt
};

// All packages of the lock must be in the store (source::debian::fetch_packages). Only minbase runs anything,
// and needs an executor that has climbed (sandbox::enter). The same lock gives the same layers on every rung,
// every day. Error(kInvalid) when the recipe's size budget is broken, naming the largest packages.
DebianBase make_debian_base(const source::debian::Recipe& recipe, const source::debian::Lock& lock,
                            Executor& executor, const DebianBaseProgress& progress);

}  // namespace corten::build
