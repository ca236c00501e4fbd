#include "build/layer_time.h"

#include <algorithm>

namespace corten::build {

store::Rootfs StageRootfs::refs() const {
  store::Rootfs refs;
  for (const StageLayer& layer : layers) refs.push_back(layer.ref);
  return refs;
}

namespace {

// Rounded up: nothing beneath may be newer than the layer.
int64_t seconds_up(int64_t ns) {
  return ns / 1'000'000'000 + (ns % 1'000'000'000 > 0);
}

std::optional<int64_t> newest_time(const store::Manifest& manifest, int64_t now_ns) {
  std::optional<int64_t> newest;
  for (const store::Entry& e : manifest.entries())
    if (e.time_ns && *e.time_ns < now_ns && (!newest || *e.time_ns > *newest)) newest = e.time_ns;
  if (newest) newest = seconds_up(*newest);
  return newest;
}

}  // namespace

int64_t newest_of_base(const store::Rootfs& base, store::Layers& layers, int64_t now_ns, int64_t fallback) {
  std::optional<int64_t> newest;
  for (const store::LayerRef& layer : base) {
    auto manifest = layers.load(layer.id);
    if (auto time = newest_time(*manifest, now_ns); time && (!newest || *time > *newest)) newest = time;
    if (layer.time != 0 && manifest->has_symbolic_times())
      newest = std::max(newest.value_or(layer.time), layer.time);
  }
  return newest.value_or(fallback);
}

StageRootfs with_layer(const StageRootfs& below, StageLayer layer, const store::Manifest& manifest,
                       int64_t now_ns) {
  StageRootfs above = below;
  above.newest = std::max(above.newest, layer.ref.time);
  if (auto time = newest_time(manifest, now_ns)) above.newest = std::max(above.newest, *time);
  above.layers.push_back(layer);
  return above;
}

int64_t exported_time(const StageRootfs& rootfs, size_t index) {
  bool is_below_a_run = false;
  for (size_t above = index + 1; above < rootfs.layers.size(); above++)
    is_below_a_run |= rootfs.layers[above].is_run;
  return exported_time(rootfs.layers[index], is_below_a_run);
}

int64_t exported_time(const StageLayer& layer, bool is_below_a_run) {
  // Time 0: read from somebody else's tar, which says all times.
  if (layer.is_base || layer.is_run || layer.ref.time == 0) return layer.ref.time;
  if (layer.is_link) return kScratchTime;
  if (is_below_a_run) return layer.ref.time;
  const auto& bytes = layer.ref.id.bytes();
  uint32_t value = static_cast<uint32_t>(bytes[0]) << 24 | static_cast<uint32_t>(bytes[1]) << 16 |
                   static_cast<uint32_t>(bytes[2]) << 8 | bytes[3];
  constexpr uint32_t kHour = 3600;
  return layer.ref.time + value % kHour;
}

}  // namespace corten::build
