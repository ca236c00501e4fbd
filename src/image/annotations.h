// Annotations by level: of image manifests, of the index, and of the descriptors that lead to them.
//
// Source: BuildKit exporter/containerimage/exptypes/annotations.go (`annotation[-TYPE][\[PLATFORM\]].KEY` of
// an output) and buildx's --annotation (`[TYPE[\[PLATFORM\]][,TYPE...]:]KEY=VALUE`), as measured.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "oci/descriptor.h"

namespace corten::image {

enum class AnnotationLevel { kManifest, kManifestDescriptor, kIndex, kIndexDescriptor };

struct AnnotationRule {
  AnnotationLevel level = AnnotationLevel::kManifest;
  std::optional<oci::Platform> platform;  // of manifests and their descriptors; unset: all
  std::string key, value;
};

// Nothing when the attribute's name is none of an annotation's; Error(kUsage) for an unknown type or
// platform.
std::optional<AnnotationRule> parse_annotation_attribute(std::string_view name, std::string_view value);
// One value of --annotation; several rules when it names several types. Error(kUsage).
std::vector<AnnotationRule> parse_annotation_flag(std::string_view text);

// What the rules say of one document; later ones win.
oci::Annotations annotations_for(const std::vector<AnnotationRule>& rules, AnnotationLevel level,
                                 const oci::Platform& platform);

// Error(kUsage) in BuildKit's words: a platform that is not built, index annotations without an index, levels
// that Docker's media types have no place for.
struct AnnotationTarget {
  std::vector<oci::Platform> platforms;
  bool is_index = false, docker_media_types = false;
};
void check_annotations(const std::vector<AnnotationRule>& rules, const AnnotationTarget& target);

}  // namespace corten::image
