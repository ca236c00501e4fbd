// A manifest as it lies in the tree: its media type, a line end, its bytes (docs/formats/registry.md).
#pragma once
#include <optional>
#include <string>

#include "registry/server/content_digest.h"
#include "registry/server/tree.h"

namespace corten::registry::serving {

struct StoredManifest {
  ContentDigest digest;
  std::string media_type;
  std::string bytes;
};

std::string encode_manifest(std::string_view media_type, std::string_view bytes);
std::optional<StoredManifest> read_manifest(const Tree& tree, const std::string& repository,
                                            const ContentDigest& digest);
// What the tag names; nothing when there is no such tag.
std::optional<ContentDigest> read_tag(const Tree& tree, const std::string& repository,
                                      const std::string& tag);

}  // namespace corten::registry::serving
