// Image manifests (image-spec v1.1, manifest.md) and Docker's schema 2 manifests, which differ in media types
// alone.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "oci/descriptor.h"
#include "oci/media_type.h"

namespace corten::oci {

inline constexpr size_t kMaxManifestBytes = 4 << 20;
inline constexpr size_t kMaxLayers = 10'000;

struct Manifest {
  std::string media_type{kOciManifest};
  std::string artifact_type;
  Descriptor config;
  std::vector<Descriptor> layers;
  std::optional<Descriptor> subject;
  Annotations annotations;
  std::string raw;  // the bytes it was parsed from; "" when made by us. Digests are over these

  // Whether layers are file-system layers under a config that says how to run them (not an artifact).
  bool is_image() const { return is_config_type(config.media_type); }
};

// Error(kInvalid) when it is no manifest, is too big, or contradicts itself. `media_type` is what the
// registry or the descriptor said; "" when unknown. A document that is also an index is refused
// (CVE-2021-41190).
Manifest parse_manifest(std::string_view bytes, std::string_view media_type = {});
// As Go writes its struct, indented by two spaces (BuildKit's form). Ignores `raw`.
std::string emit_manifest(const Manifest& manifest);

// The document's own media type, or what its members tell: manifest, index. Error(kInvalid) when neither;
// Error(kUnsupported) for Docker schema 1.
std::string detect_manifest_type(std::string_view bytes, std::string_view media_type = {});

}  // namespace corten::oci
