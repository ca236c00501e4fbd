#include "registry/server/manifest_facts.h"

#include "base/error.h"
#include "base/strings.h"
#include "oci/media_type.h"
#include "registry/server/service.h"

namespace corten::registry::serving {

namespace {

ContentDigest digest_of(const Json& descriptor, std::string_view where) {
  const std::string text = descriptor.get_string("digest");
  const std::optional<ContentDigest> digest = ContentDigest::parse(text);
  if (!digest) fail(ErrorCode::kInvalid, "{}: {} is no digest", where, quote(text));
  if (descriptor.get_int("size", -1) < 0) fail(ErrorCode::kInvalid, "{}: no size", where);
  return *digest;
}

const Json::Array& entries(const Json& manifest, std::string_view name) {
  static const Json::Array kNone;
  const Json* member = manifest.find(name);
  return member ? member->as_array() : kNone;
}

}  // namespace

ManifestFacts read_manifest_facts(std::string_view bytes, std::string_view media_type) {
  const Json manifest = Json::parse(bytes, kMaxManifest);
  if (!manifest.is_object()) fail(ErrorCode::kInvalid, "a manifest is a JSON object");
  ManifestFacts facts;
  facts.media_type = manifest.get_string("mediaType", std::string(media_type));
  if (!media_type.empty() && facts.media_type != media_type)
    fail(ErrorCode::kInvalid, "the manifest says that it is of type {}, but Content-Type {}",
         quote(facts.media_type), quote(media_type));
  if (!oci::is_valid_media_type(facts.media_type))
    fail(ErrorCode::kInvalid, "{} is no media type", quote(facts.media_type));
  if (manifest.get_int("schemaVersion", 0) == 1)
    fail(ErrorCode::kInvalid, "Docker's manifests of schema 1 are not taken");
  const Json* config = manifest.find("config");
  const bool is_index = oci::is_index_type(facts.media_type);
  if (is_index ? config != nullptr || manifest.find("layers") != nullptr
               : manifest.find("manifests") != nullptr)
    fail(ErrorCode::kInvalid, "it is an image manifest and an index at once");  // CVE-2021-41190
  if (config) facts.blobs.push_back(digest_of(*config, "config"));
  for (const Json& layer : entries(manifest, "layers")) {
    const ContentDigest digest = digest_of(layer, "layers");
    const bool is_elsewhere = oci::is_foreign_layer_type(layer.get_string("mediaType")) || layer.find("urls");
    (is_elsewhere ? facts.elsewhere : facts.blobs).push_back(digest);
  }
  for (const Json& child : entries(manifest, "manifests"))
    facts.manifests.push_back(digest_of(child, "manifests"));
  if (const Json* subject = manifest.find("subject")) facts.subject = digest_of(*subject, "subject");
  facts.artifact_type = manifest.get_string("artifactType");
  if (facts.artifact_type.empty() && config && !is_index)
    facts.artifact_type = config->get_string("mediaType");
  if (const Json* annotations = manifest.find("annotations")) {
    for (const auto& [key, value] : annotations->as_object()) value.as_string();
    facts.annotations = *annotations;
  }
  return facts;
}

Json referrer_descriptor(const ManifestFacts& facts, const ContentDigest& digest, uint64_t size) {
  Json descriptor =
      Json::object({{"mediaType", facts.media_type}, {"digest", digest.to_string()}, {"size", size}});
  if (!facts.artifact_type.empty()) descriptor.set("artifactType", facts.artifact_type);
  if (facts.annotations.is_object() && facts.annotations.size() > 0)
    descriptor.set("annotations", facts.annotations);
  return descriptor;
}

}  // namespace corten::registry::serving
