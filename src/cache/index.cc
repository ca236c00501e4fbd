#include "cache/index.h"

#include <time.h>

#include <algorithm>

#include <fmt/core.h>

#include "archive/compression.h"
#include "archive/zstd_writer.h"
#include "base/error.h"
#include "base/strings.h"
#include "oci/config.h"
#include "oci/media_type.h"

namespace corten::cache {

namespace {

constexpr int64_t kVersion = 1;
constexpr size_t kMaxConfigBytes = 8 << 20;
constexpr size_t kMaxShardBytes = 64 << 20;    // compressed
constexpr size_t kMaxEntriesBytes = 64 << 20;  // of one shard, expanded
constexpr size_t kMaxEntries = 200'000;        // of one shard
constexpr size_t kMaxShards = 17;              // of one digit each, or one of all
constexpr size_t kManyEntries = 512;           // from here on there are sixteen shards
constexpr size_t kMaxBlobs = 8'000;            // of a manifest: about 2 MB, where registries take 4
constexpr size_t kMaxBlobRecords = 16;

NewBlob blob_of(const oci::Descriptor& descriptor, const std::string& bytes) {
  return {descriptor, [&bytes](uint64_t offset) {
            return std::make_unique<archive::StringSource>(std::string_view(bytes).substr(offset));
          }};
}

Json to_json(const oci::Descriptor& blob) {
  return oci::descriptor_to_json(blob);
}
oci::Descriptor blob_from(const Json& json, std::string_view name) {
  const Json* member = json.find(name);
  if (!member) fail(ErrorCode::kInvalid, "cache: {} is missing", name);
  return oci::descriptor_from_json(*member, name);
}

Digest digest_from(const Json& json, std::string_view name) {
  auto digest = Digest::try_parse("sha256:" + json.get_string(name));
  if (!digest) fail(ErrorCode::kInvalid, "cache: {} is no digest", name);
  return *digest;
}

// Seconds since 1970, in the years that everything here can write.
int64_t time_from(const Json& json, std::string_view name) {
  constexpr int64_t kYear1 = -62'135'596'800, kYear9999 = 253'402'300'799;
  const int64_t value = json.get_int(name);
  if (value < kYear1 || value > kYear9999) fail(ErrorCode::kInvalid, "cache: {} is no time", name);
  return value;
}

uint64_t bytes_from(const Json& json, std::string_view name) {
  int64_t value = json.get_int(name);
  if (value < 0) fail(ErrorCode::kInvalid, "cache: {} is negative", name);
  return static_cast<uint64_t>(value);
}

Json to_json(const LayerBlobRecord& record) {
  Json json = Json::object({{"time", record.time},
                            {"diffId", record.diff.diff_id.digest.hex()},
                            {"tarBytes", record.diff.tar_bytes},
                            {"format", record.format},
                            {"blob", to_json(record.blob)}});
  if (!record.place.empty()) json.set("place", record.place);
  if (record.chunks.size) json.set("chunks", to_json(record.chunks));
  return json;
}

LayerBlobRecord record_from(const Json& json) {
  LayerBlobRecord record;
  record.time = time_from(json, "time");
  record.diff = {{digest_from(json, "diffId")}, bytes_from(json, "tarBytes")};
  record.format = json.get_string("format");
  record.blob = blob_from(json, "blob");
  record.place = json.get_string("place");
  if (json.find("chunks")) record.chunks = blob_from(json, "chunks");
  return record;
}

Json to_json(const Entry& entry) {
  Json blobs = Json::array();
  for (const LayerBlobRecord& record : entry.blobs) blobs.push_back(to_json(record));
  return Json::object({{"key", entry.key.hex()},
                       {"step", entry.step},
                       {"layer", entry.layer.id.hex()},
                       {"time", entry.layer.time},
                       {"used", entry.used_day},
                       {"manifest", to_json(entry.manifest)},
                       {"blobs", std::move(blobs)}});
}

Entry entry_from(const Json& json) {
  Entry entry;
  entry.key = digest_from(json, "key");
  entry.step = json.get_string("step");
  entry.layer = {digest_from(json, "layer"), time_from(json, "time")};
  // A clock that is ahead must not keep an entry for ever.
  entry.used_day = std::min<int64_t>(json.get_int("used"), time(nullptr) / 86'400 + 1);
  entry.manifest = blob_from(json, "manifest");
  if (const Json* blobs = json.find("blobs"))
    for (const Json& record : blobs->as_array()) {
      if (entry.blobs.size() == kMaxBlobRecords)
        fail(ErrorCode::kInvalid, "cache: a layer in more than {} forms", kMaxBlobRecords);
      entry.blobs.push_back(record_from(record));
    }
  return entry;
}

Json to_json(const std::string& id, const MountState& mount) {
  Json chunks = Json::array();
  for (const oci::Descriptor& chunk : mount.chunks) chunks.push_back(to_json(chunk));
  return Json::object({{"id", id},
                       {"packed", mount.packed},
                       {"recipe", to_json(mount.recipe)},
                       {"chunks", std::move(chunks)}});
}

}  // namespace

std::string compress(std::string_view bytes) {
  archive::StringSink sink;
  archive::ZstdWriter writer(sink);
  writer.write(bytes);
  writer.finish();
  return sink.take();
}

std::string expand(std::string_view bytes, size_t max_bytes, std::string_view what) {
  archive::StringSource from(bytes);
  auto plain = archive::open_decompressor(from, archive::Compression::kZstd);
  archive::LimitedSource limited(*plain, max_bytes, std::string(what));
  return archive::read_rest(limited, max_bytes);
}

std::string pack_entries(const std::vector<const Entry*>& entries) {
  Json list = Json::array();
  for (const Entry* entry : entries) list.push_back(to_json(*entry));
  return compress(Json::object({{"entries", std::move(list)}}).dump());
}

std::map<Digest, Entry> unpack_entries(std::string_view bytes) {
  const Json json = Json::parse(expand(bytes, kMaxEntriesBytes, "cache entries"), kMaxEntriesBytes);
  std::map<Digest, Entry> entries;
  const Json* list = json.find("entries");
  if (!list) fail(ErrorCode::kInvalid, "cache: no entries");
  for (const Json& one : list->as_array()) {
    if (entries.size() == kMaxEntries) fail(ErrorCode::kInvalid, "cache: more than {} entries", kMaxEntries);
    Entry entry = entry_from(one);
    entries.emplace(entry.key, std::move(entry));
  }
  return entries;
}

void Contents::add(const Contents& other) {
  for (const auto& [key, theirs] : other.entries) {
    auto [here, is_new] = entries.emplace(key, theirs);
    if (is_new) continue;
    const int64_t used = std::max(here->second.used_day, theirs.used_day);
    if (here->second.blobs.empty() && !theirs.blobs.empty()) here->second = theirs;
    here->second.used_day = used;
  }
  for (const auto& [id, theirs] : other.mounts) {
    auto [here, is_new] = mounts.emplace(id, theirs);
    if (!is_new && theirs.packed > here->second.packed && theirs.recipe != here->second.recipe)
      here->second = theirs;
  }
}

std::vector<oci::Descriptor> Contents::blobs() const {
  std::vector<oci::Descriptor> found;
  std::set<Digest> seen;
  auto add = [&](const oci::Descriptor& blob) {
    if (seen.insert(blob.digest).second) found.push_back(blob);
  };
  for (const auto& [key, entry] : entries) {
    add(entry.manifest);
    for (const LayerBlobRecord& record : entry.blobs) {
      if (record.place.empty()) add(record.blob);
      if (record.chunks.size) add(record.chunks);
    }
  }
  for (const auto& [id, mount] : mounts) {
    add(mount.recipe);
    for (const oci::Descriptor& chunk : mount.chunks) add(chunk);
  }
  return found;
}

// Newest first, for as long as there is room; mounts are few, and what builds miss most, so they count first.
void Contents::shrink(uint64_t max_bytes) {
  std::set<Digest> kept;
  uint64_t bytes = 0;
  auto cost_of = [&](const std::vector<const oci::Descriptor*>& blobs) {
    uint64_t cost = 0;
    for (const oci::Descriptor* blob : blobs)
      if (!kept.contains(blob->digest)) cost += blob->size;
    return cost;
  };
  auto take = [&](const std::vector<const oci::Descriptor*>& blobs) {
    const uint64_t cost = cost_of(blobs);
    if ((max_bytes && bytes + cost > max_bytes) || kept.size() + blobs.size() > kMaxBlobs) return false;
    bytes += cost;
    for (const oci::Descriptor* blob : blobs) kept.insert(blob->digest);
    return true;
  };
  std::erase_if(mounts, [&](const auto& item) {
    std::vector<const oci::Descriptor*> blobs{&item.second.recipe};
    for (const oci::Descriptor& chunk : item.second.chunks) blobs.push_back(&chunk);
    return !take(blobs);
  });
  std::vector<const Entry*> order;
  for (const auto& [key, entry] : entries) order.push_back(&entry);
  std::stable_sort(order.begin(), order.end(),
                   [](const Entry* a, const Entry* b) { return a->used_day > b->used_day; });
  std::set<Digest> gone;
  for (const Entry* entry : order) {
    std::vector<const oci::Descriptor*> blobs{&entry->manifest};
    for (const LayerBlobRecord& record : entry->blobs) {
      if (record.place.empty()) blobs.push_back(&record.blob);
      if (record.chunks.size) blobs.push_back(&record.chunks);
    }
    if (!take(blobs)) gone.insert(entry->key);
  }
  std::erase_if(entries, [&](const auto& item) { return gone.contains(item.first); });
}

bool is_cache_manifest(const oci::Manifest& manifest) {
  return manifest.config.media_type == kConfigType;
}

std::optional<Index> Index::read(Place& place) {
  const auto bytes = place.manifest();
  if (!bytes) return std::nullopt;
  return of(place, *bytes, std::nullopt);
}

Index Index::of(Place& place, std::string_view bytes, const std::optional<std::string>& image_config) {
  const oci::Manifest manifest = oci::parse_manifest(bytes, oci::detect_manifest_type(bytes));
  Index index(place);
  if (manifest.is_image()) {
    auto contents = read_inline_cache(
        manifest, image_config ? *image_config : place.read_blob(manifest.config, oci::kMaxConfigBytes));
    if (!contents) fail(ErrorCode::kInvalid, "{}: the image carries no cache", place.name());
    index.shards_.push_back({{}, "", std::move(contents->entries)});
    return index;
  }
  if (!is_cache_manifest(manifest))
    fail(ErrorCode::kInvalid, "{}: it is no cache, but {}", place.name(), quote(manifest.config.media_type));
  const Json config = Json::parse(place.read_blob(manifest.config, kMaxConfigBytes), kMaxConfigBytes);
  if (config.get_int("version") != kVersion)
    fail(ErrorCode::kUnsupported, "{}: a cache of version {}, ours is {}", place.name(),
         config.get_int("version"), kVersion);
  for (const oci::Descriptor& layer : manifest.layers) index.named_.insert(layer.digest);
  std::set<std::string> prefixes;
  if (const Json* shards = config.find("shards"))
    for (const Json& shard : shards->as_array()) {
      if (index.shards_.size() == kMaxShards)
        fail(ErrorCode::kInvalid, "{}: more than {} shards", place.name(), kMaxShards);
      const std::string prefix = shard.get_string("prefix");
      if (!prefixes.insert(prefix).second)
        fail(ErrorCode::kInvalid, "{}: two shards of one prefix", place.name());
      index.shards_.push_back({blob_from(shard, "blob"), prefix, {}});
    }
  if (const Json* mounts = config.find("mounts"))
    for (const Json& one : mounts->as_array()) {
      MountState mount;
      mount.packed = one.get_int("packed");
      mount.recipe = blob_from(one, "recipe");
      if (const Json* chunks = one.find("chunks"))
        for (const Json& chunk : chunks->as_array())
          mount.chunks.push_back(oci::descriptor_from_json(chunk, "chunk"));
      index.mounts_.emplace(one.get_string("id"), std::move(mount));
    }
  return index;
}

const std::map<Digest, Entry>& Index::load(Shard& shard) {
  std::lock_guard lock(*mutex_);
  if (!shard.entries) {
    shard.entries.emplace();  // one that cannot be read is told once, and empty from then on
    shard.entries = unpack_entries(place_->read_blob(shard.blob, kMaxShardBytes));
  }
  return *shard.entries;
}

std::optional<Entry> Index::find(const Digest& key) {
  const std::string hex = key.hex();
  for (Shard& shard : shards_) {
    if (!hex.starts_with(shard.prefix)) continue;
    const auto& entries = load(shard);
    if (auto found = entries.find(key); found != entries.end()) return found->second;
  }
  return std::nullopt;
}

Contents Index::all() {
  Contents contents;
  for (Shard& shard : shards_)
    for (const auto& [key, entry] : load(shard)) contents.entries.emplace(key, entry);
  contents.mounts = mounts_;
  return contents;
}

std::string write_index(const Contents& contents, Place& place,
                        const std::function<bool(const Digest&)>& known) {
  std::map<std::string, std::vector<const Entry*>> shards;
  const size_t digits = contents.entries.size() < kManyEntries ? 0 : 1;
  for (const auto& [key, entry] : contents.entries) shards[key.hex().substr(0, digits)].push_back(&entry);
  oci::Manifest manifest;
  manifest.artifact_type = std::string(kArtifactType);
  Json shard_list = Json::array();
  auto put = [&](std::string_view type, const std::string& bytes) {
    oci::Descriptor blob = oci::describe(type, bytes);
    if (!known(blob.digest)) place.put_blob(blob_of(blob, bytes));
    return blob;
  };
  for (const auto& [prefix, entries] : shards) {
    manifest.layers.push_back(put(kShardType, pack_entries(entries)));
    shard_list.push_back(Json::object({{"prefix", prefix}, {"blob", to_json(manifest.layers.back())}}));
  }
  Json mounts = Json::array();
  for (const auto& [id, mount] : contents.mounts) mounts.push_back(to_json(id, mount));
  Json config = Json::object({{"version", kVersion}, {"shards", std::move(shard_list)}});
  if (mounts.size()) config.set("mounts", std::move(mounts));
  manifest.config = put(kConfigType, config.dump());
  for (oci::Descriptor& blob : contents.blobs()) manifest.layers.push_back(std::move(blob));
  std::string bytes = oci::emit_manifest(manifest);
  place.put_manifest(bytes);
  return bytes;
}

}  // namespace corten::cache
