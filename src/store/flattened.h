// A stack of layers as one, for where nothing can show them on top of each other.
#pragma once
#include "store/layers.h"
#include "store/manifest.h"
#include "store/tree.h"

namespace corten::store {

// All that `view`, the view of these layers, shows, each entry at its time.
Manifest flattened(const Rootfs& rootfs, const Tree& view, Layers& layers);

}  // namespace corten::store
