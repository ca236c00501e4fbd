#include "oci/media_type.h"

#include <algorithm>
#include <array>

#include "base/strings.h"

namespace corten::oci {

namespace {
// The deprecated non-distributable types of image-spec 1.0, layers of Windows bases.
constexpr std::string_view kForeign = "application/vnd.oci.image.layer.nondistributable.v1.tar";
constexpr std::string_view kForeignGzip = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
constexpr std::string_view kForeignZstd = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd";

struct LayerType {
  std::string_view name;
  LayerCompression compression;
};
constexpr std::array<LayerType, 9> kLayerTypes = {{
    {kOciLayer, LayerCompression::kNone},
    {kOciLayerGzip, LayerCompression::kGzip},
    {kOciLayerZstd, LayerCompression::kZstd},
    {kDockerLayer, LayerCompression::kNone},
    {kDockerLayerGzip, LayerCompression::kGzip},
    {kDockerForeignLayerGzip, LayerCompression::kGzip},
    {kForeign, LayerCompression::kNone},
    {kForeignGzip, LayerCompression::kGzip},
    {kForeignZstd, LayerCompression::kZstd},
}};

const LayerType* find_layer_type(std::string_view media_type) {
  auto found = std::find_if(kLayerTypes.begin(), kLayerTypes.end(),
                            [&](const LayerType& t) { return t.name == media_type; });
  return found == kLayerTypes.end() ? nullptr : &*found;
}
}  // namespace

bool is_index_type(std::string_view type) {
  return type == kOciIndex || type == kDockerIndex;
}
bool is_manifest_type(std::string_view type) {
  return type == kOciManifest || type == kDockerManifest;
}
bool is_config_type(std::string_view type) {
  return type == kOciConfig || type == kDockerConfig;
}
bool is_layer_type(std::string_view type) {
  return find_layer_type(type) != nullptr;
}
bool is_docker_type(std::string_view type) {
  return type.starts_with("application/vnd.docker.");
}
bool is_foreign_layer_type(std::string_view type) {
  return type == kDockerForeignLayerGzip || type == kForeign || type == kForeignGzip || type == kForeignZstd;
}

LayerCompression layer_compression(std::string_view media_type) {
  if (const LayerType* type = find_layer_type(media_type)) return type->compression;
  fail(ErrorCode::kUnsupported, "layer media type {}: not known", quote(media_type));
}

std::string_view layer_media_type(LayerCompression compression, bool docker) {
  switch (compression) {
    case LayerCompression::kNone:
      return docker ? kDockerLayer : kOciLayer;
    case LayerCompression::kGzip:
      return docker ? kDockerLayerGzip : kOciLayerGzip;
    case LayerCompression::kZstd:
      return kOciLayerZstd;
  }
  fail(ErrorCode::kInternal, "layer compression {}", static_cast<int>(compression));
}

bool is_valid_media_type(std::string_view text) {
  auto is_name = [](std::string_view name) {
    auto alnum = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    };
    if (name.empty() || name.size() > 127 || !alnum(name[0])) return false;
    return std::all_of(name.begin(), name.end(), [&](char c) {
      return alnum(c) || std::string_view("!#$&-^_.+").find(c) != std::string_view::npos;
    });
  };
  size_t slash = text.find('/');
  return slash != std::string_view::npos && is_name(text.substr(0, slash)) && is_name(text.substr(slash + 1));
}

}  // namespace corten::oci
