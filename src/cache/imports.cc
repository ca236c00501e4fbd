#include "cache/imports.h"

#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/trace.h"
#include "cache/buildkit_lookup.h"
#include "cache/fetched_blob.h"
#include "store/layer_tar.h"

namespace corten::cache {

namespace {

constexpr size_t kMaxPackedManifest = 256 << 20;  // of a layer, compressed
constexpr size_t kMaxManifest = size_t{1} << 30;  // and expanded

// A tar read as the layer that it is on those below, with its digest and size. Contents are in the store
// then.
std::pair<store::Manifest, store::LayerDiff> read_layer(archive::ByteSource& tar, const store::Rootfs& below,
                                                        store::Store& store) {
  archive::HashingSource hashed(tar);
  store::Manifest manifest = store::read_layer_tar(hashed, store.layers().view(below), store.contents());
  archive::drain(hashed);
  const uint64_t size = hashed.size();
  return {std::move(manifest), store::LayerDiff{{hashed.digest()}, size}};
}

}  // namespace

Imports::Imports(store::Store& store, std::vector<std::shared_ptr<Place>> places, ImportWatch watch)
    : store_(store), watch_(std::move(watch)) {
  for (std::shared_ptr<Place>& place : places) {
    sources_.push_back(std::make_unique<Source>());
    Source& source = *sources_.back();
    source.place = std::move(place);
    source.began_ns = monotonic_ns();
    source.index = std::async(std::launch::async, [this, &source]() -> std::optional<Index>* {
      std::string error;
      try {
        TraceSpan span("read a cache's index");
        if (const auto manifest = source.place->manifest()) {
          std::optional<std::string> image_config;
          if (auto buildkit = read_buildkit_records(*source.place, *manifest, image_config))
            source.buildkit = std::move(*buildkit);
          else
            source.read = Index::of(*source.place, *manifest, image_config);
        } else {
          error = "there is no such cache yet";
        }
      } catch (const std::exception& e) {
        error = e.what();
      }
      if (!error.empty()) {
        std::lock_guard lock(mutex_);
        source.is_told = true;
      }
      if (watch_.ended) watch_.ended(source.place->name(), error);
      return &source.read;
    });
  }
}

Imports::~Imports() = default;

void Imports::failed(Place& place, const std::string& what) {
  {
    std::lock_guard lock(mutex_);
    for (auto& source : sources_) {
      if (source->place.get() != &place) continue;
      if (source->is_told) return;
      source->is_told = true;
    }
  }
  if (watch_.warn) watch_.warn(fmt::format("cache {}: {}; building without it", place.name(), what));
}

bool Imports::wait_for(Source& source) {
  constexpr auto kLook = std::chrono::milliseconds(50);
  while (source.index.wait_for(kLook) != std::future_status::ready) {
    watch_.cancellation.check();
    if (source.is_given_up) return false;
    if (monotonic_ns() - source.began_ns < int64_t{watch_.patience_ms} * 1'000'000) continue;
    if (!source.is_given_up.exchange(true))
      failed(*source.place, fmt::format("no answer in {} s", watch_.patience_ms / 1000));
    return false;
  }
  return true;
}

Index* Imports::index_of(Source& source) {
  if (!wait_for(source)) return nullptr;
  std::optional<Index>* index = source.index.get();
  return *index ? &**index : nullptr;
}

std::optional<store::Action> Imports::find(const Digest& key, const store::Rootfs& below,
                                           const std::string& base) {
  TraceSpan span("ask caches for a step");
  // A cache that has the layer's bytes as well comes before one that only knows the layer.
  for (const bool has_bytes : {true, false}) {
    for (auto& source : sources_) {
      Index* index = index_of(*source);
      if (!index) continue;
      try {
        auto entry = index->find(key);
        if (!entry || entry->blobs.empty() == has_bytes) continue;
        if (auto action = take(*source, *entry, below, base)) return action;
      } catch (const std::exception& error) {
        auto* known = dynamic_cast<const Error*>(&error);
        if (known && known->code() == ErrorCode::kCancelled) throw;
        failed(*source->place, error.what());
      }
    }
  }
  return std::nullopt;
}

std::optional<store::Action> Imports::take(Source& source, const Entry& entry, const store::Rootfs& below,
                                           const std::string& base) {
  store::Layers& layers = store_.layers();
  const bool is_here = layers.has(entry.layer.id);
  {
    std::lock_guard lock(mutex_);
    if (given_.contains(entry.layer.id) && !is_here) return std::nullopt;  // it was lost
  }
  std::vector<store::LayerPlace> places;
  for (const LayerBlobRecord& record : entry.blobs) {
    const std::string& place = record.place.empty() ? source.place->name() : base;
    if (!place.empty())
      places.push_back({place, record.blob.media_type, record.blob.digest, record.blob.size});
  }
  if (!is_here && entry.is_inline()) {
    rebuild(source, entry, below);
  } else if (!is_here) {
    const std::string bytes = expand(source.place->read_blob(entry.manifest, kMaxPackedManifest),
                                     kMaxManifest, "a layer's manifest");
    if (Digest::of(bytes) != entry.layer.id)
      fail(ErrorCode::kCorrupt, "the manifest of layer {} has another digest", entry.layer.id.short_hex());
    layers.save_absent(store::Manifest::parse(bytes), places);
  } else if (layers.is_absent(entry.layer.id)) {
    layers.save_absent(*layers.load(entry.layer.id), places);
  }
  // What is here speaks for itself.
  const bool is_elsewhere = !entry.is_inline() && !layers.is_whole(entry.layer.id);
  for (const LayerBlobRecord& record : entry.blobs) {
    if (!is_elsewhere) break;
    if (!layers.find_diff({entry.layer.id, record.time}))
      layers.remember_diff({entry.layer.id, record.time}, record.diff);
    if (!layers.find_blob(record.diff.diff_id, record.format))
      layers.remember_blob(record.diff.diff_id, record.format, {record.blob.digest, record.blob.size});
  }
  store::Action action{
      .key = entry.key,
      .kind = "exact",
      .layer = entry.layer,
      .record = Json::object({{"step", entry.step}, {"cache", source.place->name()}}).dump()};
  store_.record_action(action);
  const bool is_absent = layers.is_absent(entry.layer.id);
  // One that came from BuildKit is proved as a base's is.
  for (const LayerBlobRecord& record : entry.blobs)
    if (record.format == "as-pulled") note_base(entry.layer.id, below);
  std::lock_guard lock(mutex_);
  given_.insert(entry.layer.id);
  for (const LayerBlobRecord& record : entry.blobs)
    if (record.chunks.size && record.place.empty())
      in_parts_.try_emplace(entry.layer.id, InParts{source.place, record});
  if (is_absent) {
    absent_bytes_.emplace(entry.layer.id, entry.blobs.empty() ? 0 : entry.blobs.front().blob.size);
  }
  return action;
}

// An image's config has no room for layers' manifests, so the layer is read from its tar, whole. What the tar
// does not say, which times were set and which are the layer's, shows in the id: only the right answer gives
// it.
void Imports::rebuild(Source& source, const Entry& entry, const store::Rootfs& below) {
  const LayerBlobRecord& record = entry.blobs.at(0);
  FetchedBlob blob(*source.place, record.blob, store_);
  const auto [read, diff] = read_layer(blob.tar(), below, store_);
  if (diff.diff_id != record.diff.diff_id)
    fail(ErrorCode::kCorrupt, "the tar of layer {} has another digest", entry.layer.id.short_hex());
  std::vector<store::Entry> entries = read.entries();
  for (store::Entry& one : entries)
    if (one.time_ns == clamped_ns(record.time)) one.time_ns.reset();
  store::Manifest manifest(std::move(entries));
  if (manifest.id() != entry.layer.id)
    fail(ErrorCode::kCorrupt, "layer {} cannot be made from its tar", entry.layer.id.short_hex());
  store_.layers().save(std::move(manifest));
  store_.layers().remember_diff({entry.layer.id, record.time}, diff);
  note_fetched(entry.layer.id, record.blob.size);
}

std::optional<Imports::Mount> Imports::find_mount(const std::string& id) {
  std::optional<Mount> latest;
  for (auto& source : sources_) {
    Index* index = index_of(*source);
    if (!index) continue;
    auto mount = index->mounts().find(id);
    if (mount == index->mounts().end()) continue;
    if (!latest || mount->second.packed > latest->entry.packed)
      latest = Mount{source->place.get(), mount->second};
  }
  return latest;
}

void Imports::note_fetched(const Digest& layer, uint64_t bytes) {
  std::lock_guard lock(mutex_);
  fetched_[layer] += bytes;
}

std::optional<Imports::InParts> Imports::in_parts(const Digest& layer) const {
  std::lock_guard lock(mutex_);
  auto found = in_parts_.find(layer);
  return found == in_parts_.end() ? std::nullopt : std::optional(found->second);
}

void Imports::note_base(const Digest& layer, const store::Rootfs& below) {
  std::lock_guard lock(mutex_);
  below_bases_.emplace(layer, below);
}

std::optional<store::Rootfs> Imports::below_base(const Digest& layer) const {
  std::lock_guard lock(mutex_);
  auto found = below_bases_.find(layer);
  return found == below_bases_.end() ? std::nullopt : std::optional(found->second);
}

void Imports::note_mount(uint64_t bytes) {
  std::lock_guard lock(mutex_);
  mount_bytes_ += bytes;
}

Imports::Traffic Imports::traffic() const {
  std::lock_guard lock(mutex_);
  Traffic traffic;
  traffic.mount_bytes = mount_bytes_;
  for (const auto& [layer, bytes] : fetched_) traffic.fetched_layers++, traffic.fetched_bytes += bytes;
  for (const auto& [layer, bytes] : absent_bytes_)
    if (!fetched_.contains(layer)) traffic.left_layers++, traffic.left_bytes += bytes;
  return traffic;
}

// Reads a base's layer as a pull does. Error(kCorrupt) when it is another one.
static void prove_base(const Digest& layer, const store::LayerDiff& diff, const Imports* imports,
                       archive::ByteSource& tar, store::Store& store) {
  const auto below = imports ? imports->below_base(layer) : std::nullopt;
  if (!below) fail(ErrorCode::kNotFound, "this build does not know what the base's layer lies on");
  const auto [manifest, found] = read_layer(tar, *below, store);
  if (found.diff_id != diff.diff_id || manifest.id() != layer)
    fail(ErrorCode::kCorrupt, "layer {} of the base is not what the cache says", layer.short_hex());
}

store::LayerSupply make_supply(store::Store& store, OpenPlace open, const std::shared_ptr<Imports>& imports) {
  return [&store, open = std::move(open), imports](const Digest& layer, const store::Manifest&,
                                                   const std::vector<store::LayerPlace>& places) {
    std::string why;
    ErrorCode code = ErrorCode::kNotFound;
    for (const store::LayerPlace& at : places) {
      std::shared_ptr<Place> place;
      try {
        place = open(at.place);
        if (!place) fail(ErrorCode::kUnsupported, "{}: this command does not know how to reach it", at.place);
        FetchedBlob blob(*place, {.media_type = at.media_type, .digest = at.blob, .size = at.size}, store);
        const auto diff = store.layers().find_diff({layer, 0});
        const auto came_as = diff ? store.layers().find_blob(diff->diff_id, "as-pulled") : std::nullopt;
        if (came_as && came_as->digest == at.blob) {
          // An image carries a layer of its base as it came; what was built here can be made again. Commands
          // that read no cache will use it too, so it has to be what its tar says and not what a cache says.
          prove_base(layer, *diff, imports.get(), blob.tar(), store);
          store.place_blob(blob.path(), at.blob);
        } else {
          archive::HashingSource tar(blob.tar());
          store::read_layer_contents(tar, store.contents());
          archive::drain(tar);
          if (!store.layers().confirm_diff(layer, {tar.digest()}))
            fail(ErrorCode::kCorrupt, "the tar of layer {} has another digest", layer.short_hex());
        }
        if (imports) imports->note_fetched(layer, at.size);
        return;
      } catch (const Error& error) {
        if (error.code() == ErrorCode::kCancelled || error.code() == ErrorCode::kNoSpace) throw;
        why = error.what();
        if (error.code() == ErrorCode::kCorrupt) code = error.code();
        if (imports && place) imports->failed(*place, why);
      }
    }
    fail(code, "{}", why);
  };
}

}  // namespace corten::cache
