// Layers that come as blobs, into the store: several at once, each unpacked while it comes.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "oci/descriptor.h"
#include "store/store.h"

namespace corten::source {

// Writes a blob into an empty file, from its start, and verifies its digest and size. `reached` is told how
// many bytes are in the file, and a smaller number before it begins again. Called from several threads.
using BlobFetch =
    std::function<void(const oci::Descriptor& blob, int fd, const std::function<void(uint64_t at)>& reached)>;

// From files that it opens.
BlobFetch fetch_from_files(std::function<UniqueFd(const oci::Descriptor&)> open);

// The layers of an image, the lowest first; those that the store has, as they were imported before, are not
// fetched. `fetches`: at once. Every layer is verified by its diff id, and its blob is kept as it came: its
// digest is what registries and other machines know. `below`: what they lie on; the result begins with it.
// Error(kCorrupt): a layer is another than the config says. When one fails, the others are given up.
store::Rootfs import_layers(const std::vector<oci::Descriptor>& blobs, const std::vector<DiffId>& diff_ids,
                            unsigned fetches, const BlobFetch& fetch, store::Store& store,
                            store::Rootfs below = {});

// The layer when it is here already, as that blob brought it.
std::optional<store::LayerRef> imported_layer(const oci::Descriptor& blob, const DiffId& diff_id,
                                              store::Store& store);

// Whether its blob lies in the store.
bool has_layer_blob(const oci::Descriptor& blob, store::Store& store);

}  // namespace corten::source
