#include "oci/descriptor.h"

#include "base/error.h"
#include "base/strings.h"
#include "oci/media_type.h"

namespace corten::oci {

namespace {
constexpr size_t kMaxAnnotations = 10'000;
}

std::string Descriptor::annotation(std::string_view key) const {
  auto found = annotations.find(std::string(key));
  return found == annotations.end() ? std::string() : found->second;
}

Descriptor describe(std::string_view media_type, std::string_view bytes) {
  Descriptor result;
  result.media_type = media_type;
  result.digest = Digest::of(bytes);
  result.size = bytes.size();
  return result;
}

Descriptor empty_descriptor() {
  Descriptor result = describe(kOciEmpty, "{}");
  result.data = "{}";
  return result;
}

Annotations annotations_from_json(const Json& json, std::string_view where) {
  Annotations result;
  const Json* annotations = json.find("annotations");
  if (!annotations) return result;
  if (!annotations->is_object() || annotations->size() > kMaxAnnotations)
    fail(ErrorCode::kInvalid, "{}: annotations must be an object of at most {} members", where,
         kMaxAnnotations);
  for (const auto& [key, value] : annotations->as_object()) {
    if (!value.is_string())
      fail(ErrorCode::kInvalid, "{}: annotation {} must be a string", where, quote(key));
    result[key] = value.as_string();
  }
  return result;
}

Json annotations_to_json(const Annotations& annotations) {
  Json json = Json::object();
  for (const auto& [key, value] : annotations) json.set(key, value);
  return json;
}

Descriptor descriptor_from_json(const Json& json, std::string_view where) {
  if (!json.is_object()) fail(ErrorCode::kInvalid, "{}: must be a descriptor", where);
  try {
    Descriptor result;
    result.media_type = json.get_string("mediaType");
    if (!is_valid_media_type(result.media_type))
      fail(ErrorCode::kInvalid, "media type {} is malformed", quote(result.media_type));
    std::string digest = json.get_string("digest");
    if (digest.starts_with("sha512:") || digest.starts_with("blake3:"))
      fail(ErrorCode::kUnsupported, "digest {}: only sha256 is supported", quote(digest));
    result.digest = Digest::parse(digest);
    const Json* size = json.find("size");
    if (!size || !size->is_int() || size->as_int() < 0)
      fail(ErrorCode::kInvalid, "size must be a number that is not negative");
    result.size = static_cast<uint64_t>(size->as_int());
    result.urls = json.get_strings("urls");
    result.annotations = annotations_from_json(json, "descriptor");
    if (const Json* data = json.find("data")) {
      result.data = base64_decode(data->as_string());
      if (!result.data) fail(ErrorCode::kInvalid, "data is not base64");
      if (result.data->size() != result.size || Digest::of(*result.data) != result.digest)
        fail(ErrorCode::kInvalid, "data does not have the digest and size told beside it");
    }
    if (const Json* platform = json.find("platform")) result.platform = platform_from_json(*platform);
    result.artifact_type = json.get_string("artifactType");
    return result;
  } catch (Error& error) {
    error.add_context(where);
    throw;
  }
}

Json descriptor_to_json(const Descriptor& descriptor) {
  Json json = Json::object({{"mediaType", descriptor.media_type},
                            {"digest", descriptor.digest.to_string()},
                            {"size", descriptor.size}});
  if (!descriptor.urls.empty()) json.set("urls", descriptor.urls);
  if (!descriptor.annotations.empty()) json.set("annotations", annotations_to_json(descriptor.annotations));
  if (descriptor.data) json.set("data", base64_encode(*descriptor.data));
  if (descriptor.platform) json.set("platform", platform_to_json(*descriptor.platform));
  if (!descriptor.artifact_type.empty()) json.set("artifactType", descriptor.artifact_type);
  return json;
}

}  // namespace corten::oci
