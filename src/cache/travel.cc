#include "cache/travel.h"

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/trace.h"
#include "cache/mount_pack.h"
#include "source/layer_import.h"

namespace corten::cache {

namespace {
constexpr size_t kMaxChunkBlob = 16 << 20;
}  // namespace

std::vector<Digest> base_keys(const std::vector<oci::Descriptor>& blobs,
                              const std::vector<DiffId>& diff_ids) {
  std::vector<Digest> keys;
  std::string below;
  for (size_t i = 0; i < blobs.size() && i < diff_ids.size(); i++) {
    keys.push_back(Digest::of(
        fmt::format("corten-base-1\n{}\n{}\n{}\n", below, blobs[i].digest.hex(), diff_ids[i].digest.hex())));
    below = keys.back().hex();
  }
  return keys;
}

void Travel::begin(const build::Plan& plan, const build::Request& request, FilesOf files) {
  if (imports_) imports_->begin(plan, request, std::move(files));
}

void Travel::end() {
  if (imports_) imports_->end();
}

std::optional<store::Action> Travel::find(const Digest& key, const store::Rootfs& below, build::StepId step) {
  if (!imports_) return std::nullopt;
  auto action = imports_->find(key, below);
  return action ? action : imports_->find_foreign(key, below, step);
}

std::vector<bool> Travel::foresee() {
  return imports_ ? imports_->foresee() : std::vector<bool>();
}

std::optional<store::LayerRef> Travel::foreseen(build::StepId step, const store::Rootfs& below) {
  return imports_ ? imports_->foreseen(step, below) : std::nullopt;
}

// All of them, or the image is pulled as usual.
std::optional<store::Rootfs> Travel::base(const source::BaseImage& image) {
  if (!imports_ || !image.remote || image.config.diff_ids.size() != image.remote->layers.size())
    return std::nullopt;
  const std::vector<DiffId>& diff_ids = image.config.diff_ids;
  const std::vector<Digest> keys = base_keys(image.remote->layers, diff_ids);
  store::Rootfs layers;
  for (size_t i = 0; i < keys.size(); i++) {
    auto here = source::imported_layer(image.remote->layers[i], diff_ids[i], store_);
    if (!here) {
      auto action = imports_->find(keys[i], layers, "registry " + image.remote->repository);
      // Of a layer that came with an image the times are all its own. What the cache says of its bytes has to
      // be what the image says.
      if (!action || action->layer.time != 0) return std::nullopt;
      const auto diff = store_.layers().find_diff(action->layer);
      const auto blob = store_.layers().find_blob(diff_ids[i], "as-pulled");
      if (!diff || diff->diff_id != diff_ids[i] || !blob || blob->digest != image.remote->layers[i].digest)
        return std::nullopt;
      here = action->layer;
      imports_->note_base(here->id, layers);
    }
    layers.push_back(*here);
  }
  return layers;
}

void Travel::base_used(const source::BaseImage& image, const store::Rootfs& layers) {
  if (exports_.empty() || !image.remote || image.remote->layers.size() != layers.size()) return;
  const std::vector<DiffId>& diff_ids = image.config.diff_ids;
  const std::vector<Digest> keys = base_keys(image.remote->layers, diff_ids);
  if (keys.size() != layers.size()) return;
  for (size_t i = 0; i < layers.size(); i++) {
    LayerBlobRecord record;
    auto diff = store_.layers().find_diff(layers[i]);
    if (!diff || layers[i].time != 0) return;
    record.diff = *diff;
    record.format = "as-pulled";
    record.blob = image.remote->layers[i];
    record.blob.annotations.clear();
    record.place = "registry " + image.remote->repository;
    for (const auto& to : exports_) to->add_base(keys[i], layers[i], record);
  }
}

bool Travel::fill_mount(const std::string& id, const std::string& directory, const store::Owners& owners) {
  auto state = imports_ ? imports_->find_mount(id) : std::nullopt;
  if (!state) return false;
  TraceSpan span("fetch a cache mount");
  try {
    unpack_mount(state->place->read_blob(state->entry.recipe, kMaxRecipeBytes), directory,
                 {.owners = owners, .fetch = [&](const oci::Descriptor& chunk) {
                    std::string bytes = state->place->read_blob(chunk, kMaxChunkBlob);
                    imports_->note_mount(bytes.size());
                    return bytes;
                  }});
    return true;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kCancelled || error.code() == ErrorCode::kNoSpace) throw;
    imports_->failed(*state->place, fmt::format("cache mount {}: {}", id, error.what()));
    for (const char* name : {"/data", "/seen"}) remove_tree(directory + name);
    return false;
  }
}

void Travel::step_ended(const store::Action& action, const std::vector<store::LayerRef>& exported,
                        bool is_made) {
  for (const auto& to : exports_) to->add(action.key, action.record, action.layer, exported, is_made);
}

void Travel::mount_used(const std::string& id) {
  for (const auto& to : exports_) to->add_mount(id);
}

}  // namespace corten::cache
