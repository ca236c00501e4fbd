// What a registry has to know of a manifest: what it refers to, what it is about. It need not be of a kind
// that Corten builds: artifacts, Docker's manifests and members of other people's are taken as they are.
// Pure.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "registry/server/content_digest.h"

namespace corten::registry::serving {

struct ManifestFacts {
  std::string media_type;
  std::string artifact_type;             // its own, else of an image manifest the config's media type; or ""
  std::vector<ContentDigest> blobs;      // config and layers, but for those that registries need not hold
  std::vector<ContentDigest> manifests;  // of an index
  std::vector<ContentDigest> elsewhere;  // layers that registries need not hold ("foreign", or with urls)
  std::optional<ContentDigest> subject;
  Json annotations;  // an object, or null
};

// Error(kInvalid) for what is no manifest: no JSON object, digests that are none, a media type that differs
// from the one that came with it.
ManifestFacts read_manifest_facts(std::string_view bytes, std::string_view media_type);

// The descriptor that a listing of referrers has (distribution-spec, "Listing Referrers").
Json referrer_descriptor(const ManifestFacts& facts, const ContentDigest& digest, uint64_t size);

}  // namespace corten::registry::serving
