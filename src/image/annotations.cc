#include "image/annotations.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"

namespace corten::image {

namespace {

AnnotationLevel parse_level(std::string_view name) {
  if (name.empty() || name == "manifest") return AnnotationLevel::kManifest;
  if (name == "manifest-descriptor") return AnnotationLevel::kManifestDescriptor;
  if (name == "index") return AnnotationLevel::kIndex;
  if (name == "index-descriptor") return AnnotationLevel::kIndexDescriptor;
  throw Error(ErrorCode::kUsage, fmt::format("unknown annotation type {}", quote(name)))
      .with_hint("it is one of manifest, manifest-descriptor, index, index-descriptor");
}

// "manifest[linux/amd64]"
AnnotationRule parse_type(std::string_view text) {
  AnnotationRule rule;
  if (size_t open = text.find('['); open != text.npos) {
    if (!text.ends_with(']')) fail(ErrorCode::kUsage, "invalid annotation type {}", quote(text));
    std::string_view platform = text.substr(open + 1, text.size() - open - 2);
    try {
      rule.platform = oci::parse_platform(platform).normalized();
    } catch (const Error& error) {
      fail(ErrorCode::kUsage, "annotation type {}: {}", text, error.message());
    }
    text = text.substr(0, open);
  }
  rule.level = parse_level(text);
  return rule;
}

}  // namespace

std::optional<AnnotationRule> parse_annotation_attribute(std::string_view name, std::string_view value) {
  constexpr std::string_view kPrefix = "annotation";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  std::string_view rest = name.substr(kPrefix.size());
  if (rest.empty() || (rest[0] != '.' && rest[0] != '-' && rest[0] != '[')) return std::nullopt;
  size_t bracket = rest.find(']');
  size_t dot = rest.find('.', rest.find('[') < rest.find('.') && bracket != rest.npos ? bracket : 0);
  if (dot == rest.npos || dot + 1 == rest.size())
    fail(ErrorCode::kUsage, "output attribute {}: names no annotation", quote(name));
  std::string_view type = rest.substr(0, dot);
  if (type.starts_with('-')) type.remove_prefix(1);
  AnnotationRule rule = parse_type(type);
  rule.key = rest.substr(dot + 1);
  rule.value = value;
  return rule;
}

std::vector<AnnotationRule> parse_annotation_flag(std::string_view text) {
  size_t equals = text.find('=');
  if (equals == text.npos || equals == 0)
    throw Error(ErrorCode::kUsage, fmt::format("invalid annotation {}: expected key=value", quote(text)))
        .with_hint("for example --annotation index:org.opencontainers.image.title=shop");
  std::string_view key = text.substr(0, equals), types;
  if (size_t colon = key.find(':'); colon != key.npos) {
    types = key.substr(0, colon);
    key = key.substr(colon + 1);
  }
  if (key.empty()) fail(ErrorCode::kUsage, "invalid annotation {}: the key is empty", quote(text));
  std::vector<AnnotationRule> rules;
  for (const std::string& type : split(types, ',')) {
    AnnotationRule rule = parse_type(type);
    rule.key = key;
    rule.value = text.substr(equals + 1);
    rules.push_back(std::move(rule));
  }
  return rules;
}

oci::Annotations annotations_for(const std::vector<AnnotationRule>& rules, AnnotationLevel level,
                                 const oci::Platform& platform) {
  oci::Annotations found;
  for (const AnnotationRule& rule : rules)
    if (rule.level == level && (!rule.platform || *rule.platform == platform.normalized()))
      found[rule.key] = rule.value;
  return found;
}

void check_annotations(const std::vector<AnnotationRule>& rules, const AnnotationTarget& target) {
  for (const AnnotationRule& rule : rules) {
    bool of_index = rule.level == AnnotationLevel::kIndex || rule.level == AnnotationLevel::kIndexDescriptor;
    if (rule.platform && std::none_of(target.platforms.begin(), target.platforms.end(),
                                      [&](const auto& p) { return p.normalized() == *rule.platform; }))
      fail(ErrorCode::kUsage, "invalid annotation: no platform {} found in source",
           rule.platform->format_all());
    if (target.docker_media_types && rule.level != AnnotationLevel::kManifest)
      fail(ErrorCode::kUsage, "cannot export annotations with \"oci-mediatypes=false\"");
    if (of_index && !target.is_index)
      throw Error(ErrorCode::kUsage, "index annotations not supported for single platform export")
          .with_hint("annotate the manifest, or build for several platforms");
  }
}

}  // namespace corten::image
