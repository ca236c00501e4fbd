// The time of a layer (DESIGN, "Time"): one second after the newest entry beneath it.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "store/layers.h"

namespace corten::build {

inline constexpr int64_t kScratchTime = 946'684'800;  // 2000-01-01T00:00:00Z

// The stack of a stage, with what the times of its layers and of its image need to know.
struct StageLayer {
  store::LayerRef ref;
  bool is_base = false;  // of the image below: shown and exported as it came
  bool is_link = false;  // COPY --link: exported at kScratchTime
  bool is_run = false;
};

struct StageRootfs {
  std::vector<StageLayer> layers;
  int64_t newest = kScratchTime;  // of all entries and layers so far, seconds

  store::Rootfs refs() const;
};

// The newest entry of a base image's layers, `now_ns` and later not counted; `fallback` when no entry has a
// time.
int64_t newest_of_base(const store::Rootfs& base, store::Layers& layers, int64_t now_ns, int64_t fallback);

// `below` with the layer on top; `newest` moves on.
StageRootfs with_layer(const StageRootfs& below, StageLayer layer, const store::Manifest& manifest,
                       int64_t now_ns);

// The time with which a layer leaves for an image: its own; 2000-01-01 for links; for layers above the last
// RUN a time made of the content's digest, within the hour after its own, so that a changed file has a
// changed time.
int64_t exported_time(const StageLayer& layer, bool is_below_a_run);
int64_t exported_time(const StageRootfs& rootfs, size_t index);

}  // namespace corten::build
