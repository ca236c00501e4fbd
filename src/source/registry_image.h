// Images of registries to build on and to keep: their documents at once, their layers when somebody stands on
// them.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "oci/reference.h"
#include "registry/remote.h"
#include "source/base_image.h"

namespace corten::source {

// Thread-safe. `remote` (asked for at the first request) and `store` are borrowed, also by the images that it
// gives.
class RegistryImages {
 public:
  struct Options {
    unsigned jobs = 4;  // downloads at once
    // How far a blob is, from any thread.
    std::function<void(const oci::Descriptor& blob, uint64_t at)> watch = {};
  };
  using RemoteSource = std::function<registry::Remote&()>;
  RegistryImages(RemoteSource remote, store::Store& store, Options options)
      : remote_(std::move(remote)), store_(store), options_(std::move(options)) {}

  // What the reference means for that platform. Documents that the store has are not asked for: with a digest
  // in the reference, and its image in the store, nothing is. Error(kNotFound) names the platforms that there
  // are.
  BaseImage image(const oci::Reference& reference, const oci::Platform& platform);
  // The same without any request: nothing unless the reference has a digest and the store all that it means,
  // documents and layers.
  std::optional<BaseImage> stored_image(const oci::Reference& reference, const oci::Platform& platform);
  // Every image of an index, but for attestations; one otherwise.
  LayoutImages images(const oci::Reference& reference);
  // The digest that the reference means; the one that it has, if it has one.
  Digest resolve(const oci::Reference& reference);

 private:
  // The document's bytes, from the store or the registry; it is in the store then.
  std::string document(const oci::Reference& reference, oci::Descriptor& descriptor);
  // The manifest that the reference means for that platform, through indexes. Nothing when a document would
  // have to be asked for and `is_offline`.
  struct Found {
    oci::Descriptor descriptor;
    std::string bytes;
    std::vector<Digest> digests;  // of all documents on the way to it
  };
  std::optional<Found> find(const oci::Reference& reference, const oci::Platform& platform, bool is_offline);
  BaseImage open(const oci::Reference& reference, const oci::Descriptor& descriptor, const std::string& bytes,
                 std::vector<Digest> digests);
  store::Rootfs fetch_layers(const oci::Reference& reference, const oci::Manifest& manifest,
                             const std::vector<DiffId>& diff_ids, const BaseImage::Progress& progress);

  RemoteSource remote_;
  store::Store& store_;
  Options options_;
};

}  // namespace corten::source
