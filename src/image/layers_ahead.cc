#include "image/layers_ahead.h"

#include "base/error.h"

namespace corten::image {

void LayersAhead::add(const store::LayerRef& layer) {
  {
    std::lock_guard lock(mutex_);
    if (!begun_.insert(layer).second) return;
  }
  pool_.submit([this, layer] {
    try {
      make(layer);
    } catch (const Error&) {
      return;  // Thrown again where the layer is needed.
    }
  });
}

void LayersAhead::make(const store::LayerRef& layer) {
  options_.cancellation.check();
  // With an earlier version, what did not change is taken from it, by way of the diff id; without one, one
  // pass makes both.
  if (!options_.blobs || store_.layers().predecessor(layer))
    ensure_diff(layer, store_, options_.cancellation);
  if (!options_.blobs) return;
  // What was a blob before is likely to be where it goes: then it need not be made.
  if (options_.made && known_blob(layer, *options_.blobs, store_)) return;
  const oci::Descriptor blob =
      ensure_blob(layer, *options_.blobs, options_.threads, store_, options_.cancellation);
  if (options_.made) options_.made(blob);
}

}  // namespace corten::image
