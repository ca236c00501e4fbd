// From layers and a config to an image of the store.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "oci/config.h"
#include "store/store.h"

namespace corten::image {

struct AssembleInput {
  oci::ImageConfig config;        // platform, run config, history; diff ids and times are filled in here
  store::Rootfs layers;           // with the times that they are exported with
  std::string created;            // RFC 3339: of the image, and of history entries that have no time yet
  std::vector<std::string> tags;  // full references
};

// Makes diff ids, completes history (BuildKit's rules: entries without a layer and layers without an entry
// are evened out), and makes the config. The image's id is the config's digest. Nothing is kept yet:
// Store::save_image does it.
store::Image assemble(const AssembleInput& input, store::Store& store, unsigned threads);

}  // namespace corten::image
