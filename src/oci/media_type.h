// The media types of images, OCI's (image-spec v1.1, media-types.md) and Docker's (distribution, manifest v2
// schema 2).
#pragma once
#include <string>
#include <string_view>

#include "base/error.h"

namespace corten::oci {

inline constexpr std::string_view kOciIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kOciConfig = "application/vnd.oci.image.config.v1+json";
inline constexpr std::string_view kOciEmpty = "application/vnd.oci.empty.v1+json";
inline constexpr std::string_view kOciLayer = "application/vnd.oci.image.layer.v1.tar";
inline constexpr std::string_view kOciLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip";
inline constexpr std::string_view kOciLayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd";
inline constexpr std::string_view kDockerIndex = "application/vnd.docker.distribution.manifest.list.v2+json";
inline constexpr std::string_view kDockerManifest = "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view kDockerConfig = "application/vnd.docker.container.image.v1+json";
inline constexpr std::string_view kDockerLayer = "application/vnd.docker.image.rootfs.diff.tar";
inline constexpr std::string_view kDockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip";
inline constexpr std::string_view kDockerForeignLayerGzip =
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
inline constexpr std::string_view kInToto = "application/vnd.in-toto+json";

bool is_index_type(std::string_view media_type);
bool is_manifest_type(std::string_view media_type);
bool is_config_type(std::string_view media_type);
// A file-system layer of either family, non-distributable ("foreign") ones included.
bool is_layer_type(std::string_view media_type);
// A layer whose bytes a registry need not hold (Windows bases).
bool is_foreign_layer_type(std::string_view media_type);
bool is_docker_type(std::string_view media_type);

enum class LayerCompression { kNone, kGzip, kZstd };
// What a layer type says; Error(kUnsupported) for what is no layer type we know.
LayerCompression layer_compression(std::string_view media_type);
// The layer type of a family. Docker has none for zstd; OCI's is given.
std::string_view layer_media_type(LayerCompression compression, bool docker);

// RFC 6838 section 4.2: "type/subtype" of the allowed characters, each at most 127 long.
bool is_valid_media_type(std::string_view text);

}  // namespace corten::oci
