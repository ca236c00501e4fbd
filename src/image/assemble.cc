#include "image/assemble.h"

#include "base/thread_pool.h"
#include "image/layer_blobs.h"

namespace corten::image {

namespace {

// As many entries that made a layer as there are layers: surplus ones are marked empty, missing ones are
// added.
void even_out_history(oci::ImageConfig& config, size_t layers) {
  size_t seen = 0;
  for (oci::History& entry : config.history) {
    if (entry.empty_layer) continue;
    if (seen == layers)
      entry.empty_layer = true;
    else
      seen++;
  }
  for (; seen < layers; seen++) {
    oci::History entry;
    entry.comment = "buildkit.exporter.image.v0";
    config.history.push_back(entry);
  }
}

uint64_t image_size(const store::Rootfs& layers, store::Store& store) {
  uint64_t sum = 0;
  for (const store::LayerRef& layer : layers) sum += store.layers().load(layer.id)->content_bytes();
  return sum;
}

}  // namespace

store::Image assemble(const AssembleInput& input, store::Store& store, unsigned threads) {
  oci::ImageConfig config = input.config;
  config.raw.clear();
  std::vector<DiffId> diff_ids(input.layers.size());
  parallel_for(input.layers.size(), threads,
               [&](size_t i) { diff_ids[i] = ensure_diff(input.layers[i], store).diff_id; });
  config.diff_ids = std::move(diff_ids);
  config.created = input.created;
  even_out_history(config, input.layers.size());
  for (oci::History& entry : config.history)
    if (entry.created.empty()) entry.created = input.created;

  store::Image image;
  image.config = oci::emit_config(config);
  image.id = Digest::of(image.config);
  image.layers = input.layers;
  image.size = image_size(input.layers, store);
  image.tags = input.tags;
  return image;
}

}  // namespace corten::image
