// A pointer to content: media type, digest, size (image-spec v1.1, descriptor.md).
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/json.h"
#include "oci/platform.h"

namespace corten::oci {

using Annotations = std::map<std::string, std::string>;

struct Descriptor {
  std::string media_type;
  Digest digest;
  uint64_t size = 0;
  std::vector<std::string> urls;
  Annotations annotations;
  std::optional<std::string> data;  // the content itself, decoded
  std::optional<Platform> platform;
  std::string artifact_type;

  std::string annotation(std::string_view key) const;  // "" when absent
  bool operator==(const Descriptor&) const = default;
};

// Of bytes in hand.
Descriptor describe(std::string_view media_type, std::string_view bytes);
// The well-known `{}` (image-spec, manifest.md, "Guidance for an Empty Descriptor").
Descriptor empty_descriptor();

// `where` names it in errors ("layers[3]"). Error(kInvalid) for a missing or wrong media type, digest, size
// or data; Error(kUnsupported) for a digest that is not SHA-256.
Descriptor descriptor_from_json(const Json& json, std::string_view where);
// Members in the order of image-spec's Go structs.
Json descriptor_to_json(const Descriptor& descriptor);

Annotations annotations_from_json(const Json& json,
                                  std::string_view where);  // of an object's "annotations" member
Json annotations_to_json(const Annotations& annotations);

}  // namespace corten::oci
