// What a travelling cache holds: which step gave which layer, where the layer's parts lie, and cache mounts.
//
// It is one image manifest under a name, never an index of manifests (some registries take none). Its config
// names the shards: lists of entries, by the first digit of the key once there are many. All blobs that an
// entry names are the manifest's layers, so that no registry collects them. docs/formats/cache.md has the
// bytes.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/json.h"
#include "cache/place.h"
#include "oci/descriptor.h"
#include "oci/manifest.h"
#include "store/layers.h"

namespace corten::cache {

inline constexpr std::string_view kArtifactType = "application/vnd.corten.cache.v1";
inline constexpr std::string_view kConfigType = "application/vnd.corten.cache.config.v1+json";
inline constexpr std::string_view kShardType = "application/vnd.corten.cache.entries.v1+zstd";
inline constexpr std::string_view kLayerChunksType = "application/vnd.corten.cache.chunks.v1";
inline constexpr std::string_view kLayerManifestType = "application/vnd.corten.cache.layer.v1+zstd";

// A layer's tar, compressed.
struct LayerBlobRecord {
  int64_t time = 0;  // of the entries that have none of their own, seconds
  store::LayerDiff diff;
  std::string format;    // as the store names encoders: "gz1"
  oci::Descriptor blob;  // with the media type of an image's layer
  // Of which chunks the blob is (image/layer_records.h), so that single files can be read from it; size 0:
  // not known.
  oci::Descriptor chunks;
  std::string place;  // "" is this cache; else the base image's repository: "registry docker.io/x/y"
  bool operator==(const LayerBlobRecord&) const = default;
};

// What a step gave.
struct Entry {
  Digest key;
  std::string step;  // for people
  store::LayerRef layer;
  oci::Descriptor manifest;            // the layer's, compressed
  std::vector<LayerBlobRecord> blobs;  // none: the layer is known here and lies nowhere
  int64_t used_day = 0;                // days since 1970
  // Of an image's own config, which has no room for layers' manifests.
  bool is_inline() const { return manifest.size == 0; }
  bool operator==(const Entry&) const = default;
};

// A cache mount as it was once, taken apart by mount_pack.h.
struct MountState {
  oci::Descriptor recipe;
  std::vector<oci::Descriptor> chunks;
  int64_t packed = 0;  // seconds since 1970
  bool operator==(const MountState&) const = default;
};

// A value: all of a cache, or what a build adds to it.
struct Contents {
  std::map<Digest, Entry> entries;
  std::map<std::string, MountState> mounts;
  bool operator==(const Contents&) const = default;

  // The union. Of two entries for one key the one that is here stays, unless the other alone has blobs; of
  // two states of a mount the later one.
  void add(const Contents& other);
  // The least used entries go until what is left takes no more bytes, and no more blobs than a manifest can
  // name. 0: no limit.
  void shrink(uint64_t max_bytes);
  // Blobs of this cache that the entries and mounts name, each once.
  std::vector<oci::Descriptor> blobs() const;
};

// A manifest of a cache as it lies in a place: the shards are read when a key is asked for. Thread-safe.
class Index {
 public:
  // Nothing when the place has no manifest. Error(kInvalid) for one that is no cache of ours, nor an image
  // that carries one.
  static std::optional<Index> read(Place& place);
  // The same of a manifest that was read. `image_config`: an image's, if it was read as well.
  static Index of(Place& place, std::string_view manifest, const std::optional<std::string>& image_config);
  Index(Index&&) noexcept = default;
  Index& operator=(Index&&) noexcept = default;

  std::optional<Entry> find(const Digest& key);
  const std::map<std::string, MountState>& mounts() const { return mounts_; }
  Contents all();
  // Of the manifest's blobs.
  bool names(const Digest& blob) const { return named_.contains(blob); }

 private:
  struct Shard {
    oci::Descriptor blob;
    std::string prefix;  // of the keys' hex digits
    std::optional<std::map<Digest, Entry>> entries;
  };
  explicit Index(Place& place) : place_(&place), mutex_(std::make_unique<std::mutex>()) {}
  const std::map<Digest, Entry>& load(Shard& shard);

  Place* place_;
  std::unique_ptr<std::mutex> mutex_;
  std::vector<Shard> shards_;
  std::map<std::string, MountState> mounts_;
  std::set<Digest> named_;
};

// --- Inline: the steps of an image, in its own config (inline.cc) ---
inline constexpr std::string_view kInlineMember = "corten.cache.v1";
// The member's value; `layers` are the image's, lowest first, each with its step unless it is of the base.
struct InlineStep {
  Digest key;
  std::string step;
  store::LayerRef layer;
  int64_t exported_time = 0;
};
Json inline_cache(const std::vector<std::optional<InlineStep>>& layers);
// Of an image: entries over its blobs. Nothing when it carries none.
std::optional<Contents> read_inline_cache(const oci::Manifest& manifest, std::string_view config);

// Whether a manifest's bytes are a cache's of ours.
bool is_cache_manifest(const oci::Manifest& manifest);

// Puts shards, config and manifest; all other blobs are there. `known` are blobs that need not be put. Gives
// the manifest's bytes.
std::string write_index(const Contents& contents, Place& place,
                        const std::function<bool(const Digest&)>& known);

// Entries as the bytes of a shard, and back. Error(kInvalid), Error(kCorrupt).
std::string pack_entries(const std::vector<const Entry*>& entries);
std::map<Digest, Entry> unpack_entries(std::string_view bytes);

// zstd, for small things that are held whole.
std::string compress(std::string_view bytes);
std::string expand(std::string_view bytes, size_t max_bytes, std::string_view what);

}  // namespace corten::cache
