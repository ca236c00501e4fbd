#include "cache/buildkit_records.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "oci/config.h"
#include "oci/index.h"

namespace corten::cache {

namespace {

constexpr size_t kMaxConfigBytes = 16 << 20;  // BuildKit itself reads 1 MiB
constexpr size_t kMaxRecords = 100'000;
constexpr size_t kMaxLinks = 1'000'000;        // of all records
constexpr size_t kMaxChain = oci::kMaxLayers;  // layers of one result
constexpr size_t kMaxChainLayers = 2'000'000;  // of all results
constexpr size_t kMaxImages = 64;              // of an index
constexpr std::string_view kUncompressed = "containerd.io/uncompressed";

size_t index_from(const Json& json, std::string_view name, size_t bound) {
  const int64_t value = json.get_int(name, -1);
  if (value < 0 || static_cast<uint64_t>(value) >= bound)
    fail(ErrorCode::kInvalid, "BuildKit's cache: {} {} is out of bounds", name, value);
  return static_cast<size_t>(value);
}

Digest digest_from(const Json& json, std::string_view name) {
  auto digest = Digest::try_parse(json.get_string(name));
  if (!digest) fail(ErrorCode::kInvalid, "BuildKit's cache: {} is no digest", name);
  return *digest;
}

std::vector<Json> list_from(const Json& json, std::string_view name, size_t max) {
  const Json* list = json.find(name);
  if (!list) return {};
  if (list->as_array().size() > max)
    fail(ErrorCode::kInvalid, "BuildKit's cache: more than {} {}", max, name);
  return list->as_array();
}

}  // namespace

const std::vector<size_t>& BuildkitRecords::with(const Digest& digest) const {
  static const std::vector<size_t> kNone;
  auto found = by_digest_.find(digest);
  return found == by_digest_.end() ? kNone : found->second;
}

// `layers`: which of ours a layer of the config is, nothing for one whose blob is not named. `parents`: -1
// for none.
void BuildkitRecords::add_records(const Json& list, const std::vector<std::optional<size_t>>& layers,
                                  const std::vector<int64_t>& parents) {
  if (list.as_array().size() > kMaxRecords)
    fail(ErrorCode::kInvalid, "BuildKit's cache: more than {} records", kMaxRecords);
  size_t links = 0, chained = 0;
  auto add_result = [&](BuildkitRecord& record, const std::vector<size_t>& chain) {
    chained += chain.size();
    if (chain.size() > kMaxChain || chained > kMaxChainLayers)
      fail(ErrorCode::kInvalid, "BuildKit's cache: results of too many layers");
    std::vector<size_t> result;
    for (const size_t layer : chain) {
      if (!layers[layer]) return;
      result.push_back(*layers[layer]);
    }
    record.results.push_back(std::move(result));
  };
  for (const Json& one : list.as_array()) {
    BuildkitRecord record;
    record.digest = digest_from(one, "digest");
    for (const Json& alternatives : list_from(one, "inputs", kMaxLinks)) {
      auto& input = record.inputs.emplace_back();
      for (const Json& link : alternatives.as_array()) {
        if (++links > kMaxLinks) fail(ErrorCode::kInvalid, "BuildKit's cache: more than {} links", kMaxLinks);
        input.push_back({link.get_string("selector"), index_from(link, "link", list.as_array().size())});
      }
    }
    for (const Json& result : list_from(one, "layers", kMaxLinks)) {
      std::vector<size_t> chain;
      auto at = static_cast<int64_t>(index_from(result, "layer", layers.size()));
      for (; at != -1; at = parents[static_cast<size_t>(at)]) {
        if (chain.size() == layers.size()) fail(ErrorCode::kInvalid, "BuildKit's cache: layers in a circle");
        chain.push_back(static_cast<size_t>(at));
      }
      std::reverse(chain.begin(), chain.end());
      add_result(record, chain);
    }
    for (const Json& result : list_from(one, "chains", kMaxLinks)) {
      std::vector<size_t> chain;
      for (const Json& layer : list_from(result, "layers", kMaxChain)) {
        const int64_t at = layer.as_int();
        if (at < 0 || static_cast<uint64_t>(at) >= layers.size())
          fail(ErrorCode::kInvalid, "BuildKit's cache: layer {} is out of bounds", at);
        chain.push_back(static_cast<size_t>(at));
      }
      add_result(record, chain);
    }
    by_digest_[record.digest].push_back(records_.size());
    records_.push_back(std::move(record));
  }
}

BuildkitRecords BuildkitRecords::parse(std::string_view config, const std::vector<oci::Descriptor>& blobs) {
  const Json json = Json::parse(config, kMaxConfigBytes);
  std::map<Digest, const oci::Descriptor*> named;
  for (const oci::Descriptor& blob : blobs) named.emplace(blob.digest, &blob);
  BuildkitRecords records;
  std::vector<std::optional<size_t>> layers;
  std::vector<int64_t> parents;
  const std::vector<Json> list = list_from(json, "layers", oci::kMaxLayers);
  for (const Json& one : list) {
    const int64_t parent = one.get_int("parent");  // Go leaves 0 out
    if (parent < -1 || parent >= static_cast<int64_t>(list.size()))
      fail(ErrorCode::kInvalid, "BuildKit's cache: parent {} is out of bounds", parent);
    parents.push_back(parent);
    auto blob = named.find(digest_from(one, "blob"));
    if (blob == named.end()) {
      layers.emplace_back();
      continue;
    }
    layers.emplace_back(records.layers_.size());
    BuildkitLayer layer{.blob = *blob->second, .diff_id = {}};
    if (auto tar = Digest::try_parse(layer.blob.annotation(kUncompressed))) layer.diff_id = DiffId{*tar};
    records.layers_.push_back(std::move(layer));
  }
  if (const Json* all = json.find("records")) records.add_records(*all, layers, parents);
  return records;
}

std::optional<BuildkitRecords> BuildkitRecords::parse_inline(const oci::Manifest& manifest,
                                                             std::string_view image_config) {
  const oci::ImageConfig config = oci::parse_config(image_config).config;
  const Json* member = nullptr;
  for (const auto& [name, value] : config.other)
    if (name == kBuildkitInlineMember) member = &value;
  if (!member || member->is_null()) return std::nullopt;
  const auto bytes = base64_decode(member->as_string());
  if (!bytes || config.diff_ids.size() != manifest.layers.size())
    fail(ErrorCode::kInvalid, "BuildKit's cache in an image: it does not fit the layers");
  BuildkitRecords records;
  std::vector<std::optional<size_t>> layers;
  std::vector<int64_t> parents;
  for (size_t i = 0; i < manifest.layers.size(); i++) {
    records.layers_.push_back({manifest.layers[i], config.diff_ids[i]});
    layers.emplace_back(i);
    parents.push_back(static_cast<int64_t>(i) - 1);
  }
  const Json list = Json::parse(*bytes, kMaxConfigBytes);
  if (!list.is_null()) records.add_records(list, layers, parents);
  return records;
}

static std::optional<BuildkitRecords> read_image(Place& place, const oci::Manifest& manifest,
                                                 std::optional<std::string>& image_config) {
  if (manifest.config.media_type == kBuildkitConfigType)
    return BuildkitRecords::parse(place.read_blob(manifest.config, kMaxConfigBytes), manifest.layers);
  if (!manifest.is_image()) return std::nullopt;
  std::string config = place.read_blob(manifest.config, oci::kMaxConfigBytes);
  auto records = BuildkitRecords::parse_inline(manifest, config);
  if (!records) image_config = std::move(config);
  return records;
}

std::optional<std::vector<BuildkitRecords>> read_buildkit_records(Place& place, std::string_view manifest,
                                                                  std::optional<std::string>& image_config) {
  std::vector<BuildkitRecords> found;
  const std::string type = oci::detect_manifest_type(manifest);
  if (!oci::is_index_type(type)) {
    if (auto records = read_image(place, oci::parse_manifest(manifest, type), image_config))
      found.push_back(std::move(*records));
    return found.empty() ? std::nullopt : std::optional(std::move(found));
  }
  const oci::Index index = oci::parse_index(manifest, type);
  for (const oci::Descriptor& entry : index.manifests) {
    if (entry.media_type != kBuildkitConfigType) continue;
    found.push_back(BuildkitRecords::parse(place.read_blob(entry, kMaxConfigBytes), index.manifests));
    return found;
  }
  size_t images = 0;
  for (const oci::Descriptor& entry : index.manifests) {
    if (!oci::is_manifest_type(entry.media_type) || oci::is_attestation(entry)) continue;
    if (++images > kMaxImages) break;
    std::optional<std::string> config_of_one;
    const std::string bytes = place.manifest_of(entry, oci::kMaxManifestBytes);
    if (auto records = read_image(place, oci::parse_manifest(bytes, entry.media_type), config_of_one))
      found.push_back(std::move(*records));
  }
  return found.empty() ? std::nullopt : std::optional(std::move(found));
}

}  // namespace corten::cache
