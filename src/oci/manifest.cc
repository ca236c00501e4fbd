#include "oci/manifest.h"

#include "base/error.h"
#include "base/strings.h"

namespace corten::oci {

namespace {
Json parse_document(std::string_view bytes) {
  if (bytes.size() > kMaxManifestBytes)
    fail(ErrorCode::kInvalid, "manifest of {} bytes: the limit is {}", bytes.size(), kMaxManifestBytes);
  Json json = Json::parse(bytes, kMaxManifestBytes);
  if (!json.is_object()) fail(ErrorCode::kInvalid, "manifest: must be a JSON object");
  return json;
}

std::string type_of(const Json& json, std::string_view told) {
  int64_t schema = json.get_int("schemaVersion");
  if (schema == 1 || json.find("fsLayers"))
    throw Error(ErrorCode::kUnsupported, "manifest: Docker schema 1 is not supported")
        .with_hint("push the image again with a current tool");
  if (schema != 2) fail(ErrorCode::kInvalid, "manifest: schemaVersion must be 2");
  // A document that is read as one thing here and as another there would have one digest and two meanings.
  bool lists = json.find("manifests"), holds = json.find("config") || json.find("layers");
  if (lists && holds) fail(ErrorCode::kInvalid, "manifest: is both an image manifest and an index");
  if (!lists && !holds) fail(ErrorCode::kInvalid, "manifest: is neither an image manifest nor an index");

  std::string own = json.get_string("mediaType"), type = own.empty() ? std::string(told) : own;
  if (!own.empty() && !told.empty() && own != told)
    fail(ErrorCode::kInvalid, "manifest: its media type is {}, but it came as {}", quote(own), quote(told));
  if (type.empty()) type = lists ? kOciIndex : kOciManifest;
  if (lists ? !is_index_type(type) : !is_manifest_type(type))
    fail(ErrorCode::kInvalid, "manifest: media type {} does not fit what is in it", quote(type));
  return type;
}
}  // namespace

std::string detect_manifest_type(std::string_view bytes, std::string_view media_type) {
  return type_of(parse_document(bytes), media_type);
}

Manifest parse_manifest(std::string_view bytes, std::string_view media_type) {
  Json json = parse_document(bytes);
  Manifest result;
  result.media_type = type_of(json, media_type);
  if (is_index_type(result.media_type)) fail(ErrorCode::kInvalid, "manifest: is an index");
  const Json* config = json.find("config");
  if (!config) fail(ErrorCode::kInvalid, "manifest: has no config");
  result.config = descriptor_from_json(*config, "config");
  if (const Json* layers = json.find("layers")) {
    if (!layers->is_array()) fail(ErrorCode::kInvalid, "manifest: layers must be a list");
    if (layers->size() > kMaxLayers)
      fail(ErrorCode::kInvalid, "manifest: {} layers, the limit is {}", layers->size(), kMaxLayers);
    for (const Json& layer : layers->as_array())
      result.layers.push_back(descriptor_from_json(layer, fmt::format("layers[{}]", result.layers.size())));
  }
  if (const Json* subject = json.find("subject")) result.subject = descriptor_from_json(*subject, "subject");
  result.artifact_type = json.get_string("artifactType");
  result.annotations = annotations_from_json(json, "manifest");
  result.raw = bytes;
  return result;
}

std::string emit_manifest(const Manifest& manifest) {
  Json json = Json::object({{"schemaVersion", 2}, {"mediaType", manifest.media_type}});
  if (!manifest.artifact_type.empty()) json.set("artifactType", manifest.artifact_type);
  json.set("config", descriptor_to_json(manifest.config));
  Json layers = Json::array();
  for (const Descriptor& layer : manifest.layers) layers.push_back(descriptor_to_json(layer));
  json.set("layers", std::move(layers));
  if (manifest.subject) json.set("subject", descriptor_to_json(*manifest.subject));
  if (!manifest.annotations.empty()) json.set("annotations", annotations_to_json(manifest.annotations));
  return json.dump({.indent = 2, .escape_html = true});
}

}  // namespace corten::oci
