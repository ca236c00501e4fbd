// An image to build on: its config at once, its layers when somebody stands on them.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/path.h"
#include "oci/config.h"
#include "oci/descriptor.h"
#include "oci/platform.h"
#include "store/store.h"

namespace corten::source {

struct BaseImage {
  std::string name;  // as it is shown
  Digest identity;   // of the manifest (layout) or the config (store): what the `from` key holds
  // By which others may know it: of the manifest, and of the indexes that led to it. None for one of the
  // store.
  std::vector<Digest> manifests = {};
  oci::ImageConfig config;
  // Of one that lies in a registry: where its blobs are.
  struct Remote {
    std::string repository;  // "docker.io/library/debian"
    std::vector<oci::Descriptor> layers;
  };
  std::optional<Remote> remote;
  // Makes sure that the layers are in the store and gives them. Thread-safe, may be called again.
  std::function<store::Rootfs()> layers;
  // Where layers() downloads: is told how many bytes have come of how many, from any thread. To be set
  // before.
  using Progress = std::function<void(uint64_t at, uint64_t total)>;
  std::shared_ptr<Progress> progress = {};
};

// From an OCI layout directory; `name` is a tag, a digest or "". For an index the entry that fits the
// platform best. Every blob is verified by digest, size and diff id.
BaseImage image_from_layout(const HostPath& directory, std::string_view name, const oci::Platform& platform,
                            store::Store& store);
// All images that `name` means: of an index each, but for attestations, in its order. `missing` are platforms
// whose manifests or layers are not in the layout: an archive may hold a part of an index.
struct LayoutImages {
  bool is_index = false;
  std::vector<BaseImage> images;
  std::vector<oci::Platform> platforms;  // of the images, as the index says
  std::vector<std::string> missing;
};
LayoutImages images_from_layout(const HostPath& directory, std::string_view name, store::Store& store);
BaseImage image_from_store(const store::Image& image, std::string_view name);
// The way back: how the store keeps an image whose layers it has; its id is the digest of the config's bytes.
// It is not saved yet, and has no names.
store::Image image_to_store(const oci::ImageConfig& config, store::Rootfs layers, store::Store& store);
// The same, saved under these names; gives its id.
Digest keep_image(const oci::ImageConfig& config, store::Rootfs layers, std::vector<std::string> names,
                  store::Store& store);

}  // namespace corten::source
