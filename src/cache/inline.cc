#include "base/error.h"
#include "cache/index.h"
#include "oci/config.h"

namespace corten::cache {

namespace {

constexpr int64_t kVersion = 1;

Digest digest_of(const Json& json, std::string_view name) {
  auto digest = Digest::try_parse("sha256:" + json.get_string(name));
  if (!digest) fail(ErrorCode::kInvalid, "cache in an image: {} is no digest", name);
  return *digest;
}

int64_t time_of(const Json& json, std::string_view name) {
  constexpr int64_t kYear9999 = 253'402'300'799;
  const int64_t value = json.get_int(name);
  if (value < -kYear9999 || value > kYear9999)
    fail(ErrorCode::kInvalid, "cache in an image: {} is no time", name);
  return value;
}

}  // namespace

Json inline_cache(const std::vector<std::optional<InlineStep>>& layers) {
  Json list = Json::array();
  for (const auto& layer : layers) {
    if (!layer) {
      list.push_back(nullptr);
      continue;
    }
    list.push_back(Json::object({{"key", layer->key.hex()},
                                 {"step", layer->step},
                                 {"layer", layer->layer.id.hex()},
                                 {"time", layer->layer.time},
                                 {"exported", layer->exported_time}}));
  }
  return Json::object({{"version", kVersion}, {"layers", std::move(list)}});
}

std::optional<Contents> read_inline_cache(const oci::Manifest& manifest, std::string_view bytes) {
  const oci::ImageConfig config = oci::parse_config(bytes).config;
  const Json* member = nullptr;
  for (const auto& [name, value] : config.other)
    if (name == kInlineMember) member = &value;
  if (!member || member->get_int("version") != kVersion) return std::nullopt;
  const Json* layers = member->find("layers");
  if (!layers || layers->as_array().size() != manifest.layers.size() ||
      config.diff_ids.size() != manifest.layers.size())
    fail(ErrorCode::kInvalid, "cache in an image: it does not fit the layers");
  Contents contents;
  for (size_t i = 0; i < manifest.layers.size(); i++) {
    const Json& layer = layers->as_array()[i];
    if (layer.is_null()) continue;
    Entry entry;
    entry.key = digest_of(layer, "key");
    entry.step = layer.get_string("step");
    entry.layer = {digest_of(layer, "layer"), time_of(layer, "time")};
    LayerBlobRecord record;
    record.time = time_of(layer, "exported");
    record.diff.diff_id = config.diff_ids[i];
    record.blob = manifest.layers[i];
    entry.blobs.push_back(std::move(record));
    contents.entries.emplace(entry.key, std::move(entry));
  }
  return contents;
}

}  // namespace corten::cache
