// What a finished build leaves: the image in the store, archives, files, and what scripts read.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "build/solve.h"
#include "cli/build_flags.h"
#include "cli/hand_over.h"
#include "image/push.h"
#include "oci/descriptor.h"
#include "registry/remote.h"
#include "source/registry_image.h"
#include "store/store.h"

namespace corten::cli {

struct FinishedBuild {
  std::vector<store::Image> images;  // one for each platform
  bool is_index = false;
  std::string id;  // what -q prints: of the image, or of the index
  std::vector<std::string> names;
  std::vector<std::string> pushed;      // references with digests, as they are to be pulled
  std::optional<oci::Descriptor> root;  // of the manifest or index, once something was exported
  uint64_t size() const;
};

// For outputs that go to a registry; asked for only then.
struct PushTo {
  std::function<registry::Remote&()> remote;
  std::function<std::vector<std::string>(const std::string& registry)> mount_from;
  Cancellation cancellation;
  image::EarlyPush* early = nullptr;
  std::function<source::RegistryImages&()> images = {};  // to look at what a tag means now
};

// Makes sure that what the outputs will read of the result's layers is here, or in the registry that an
// output goes to. Error(kLost) when a layer that lies elsewhere is not to be had.
void settle_outputs(const build::BuildResult& result, const BuildFlags& flags, store::Store& store,
                    const PushTo& push);

// What can be said of the outputs before anything is built. Error(kUsage), Error(kUnsupported).
void check_outputs(const build::Request& request, const BuildFlags& flags);

// Makes the images of the targets and every output; `hand_over`: to whom they go beside these, or null.
// `vertex` is the progress line that it reports on.
FinishedBuild write_outputs(const build::BuildResult& result, const build::Request& request,
                            const BuildFlags& flags, store::Store& store, build::Events& events, int vertex,
                            const PushTo& push, HandOver* hand_over);

// buildx's metadata file (section 3.7).
void write_metadata(const std::string& file, const FinishedBuild& finished, const std::string& build_id);

}  // namespace corten::cli
