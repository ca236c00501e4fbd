// Image indexes (image-spec v1.1, image-index.md) and Docker's manifest lists.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "oci/manifest.h"

namespace corten::oci {

inline constexpr size_t kMaxIndexEntries = 10'000;

struct Index {
  std::string media_type{kOciIndex};
  std::string artifact_type;
  std::vector<Descriptor> manifests;
  std::optional<Descriptor> subject;
  Annotations annotations;
  std::string raw;  // the bytes it was parsed from; "" when made by us
};

// Errors as parse_manifest.
Index parse_index(std::string_view bytes, std::string_view media_type = {});
std::string emit_index(const Index& index);

// The best entry for a machine of platform `wanted`; attestation manifests are never chosen. nullptr when
// none fits. An entry without a platform is chosen only when it is the only one.
const Descriptor* choose_manifest(const Index& index, const Platform& wanted);

// BuildKit's attestation manifests: vnd.docker.reference.type = attestation-manifest.
bool is_attestation(const Descriptor& descriptor);
// The attestation manifests that belong to the image manifest with this digest.
std::vector<Descriptor> attestations_of(const Index& index, const Digest& manifest);

}  // namespace corten::oci
