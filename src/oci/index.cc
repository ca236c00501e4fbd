#include "oci/index.h"

#include "base/error.h"

namespace corten::oci {

Index parse_index(std::string_view bytes, std::string_view media_type) {
  Index result;
  result.media_type = detect_manifest_type(bytes, media_type);
  if (!is_index_type(result.media_type)) fail(ErrorCode::kInvalid, "index: is an image manifest");
  Json json = Json::parse(bytes, kMaxManifestBytes);
  const Json* manifests = json.find("manifests");
  if (!manifests || !manifests->is_array()) fail(ErrorCode::kInvalid, "index: manifests must be a list");
  if (manifests->size() > kMaxIndexEntries)
    fail(ErrorCode::kInvalid, "index: {} entries, the limit is {}", manifests->size(), kMaxIndexEntries);
  for (const Json& manifest : manifests->as_array())
    result.manifests.push_back(
        descriptor_from_json(manifest, fmt::format("manifests[{}]", result.manifests.size())));
  if (const Json* subject = json.find("subject")) result.subject = descriptor_from_json(*subject, "subject");
  result.artifact_type = json.get_string("artifactType");
  result.annotations = annotations_from_json(json, "index");
  result.raw = bytes;
  return result;
}

std::string emit_index(const Index& index) {
  Json json = Json::object({{"schemaVersion", 2}, {"mediaType", index.media_type}});
  if (!index.artifact_type.empty()) json.set("artifactType", index.artifact_type);
  Json manifests = Json::array();
  for (const Descriptor& manifest : index.manifests) manifests.push_back(descriptor_to_json(manifest));
  json.set("manifests", std::move(manifests));
  if (index.subject) json.set("subject", descriptor_to_json(*index.subject));
  if (!index.annotations.empty()) json.set("annotations", annotations_to_json(index.annotations));
  return json.dump({.indent = 2, .escape_html = true});
}

const Descriptor* choose_manifest(const Index& index, const Platform& wanted) {
  const Descriptor* best = nullptr;
  const Descriptor* only = nullptr;
  int best_rank = 0;
  size_t images = 0;
  for (const Descriptor& entry : index.manifests) {
    if (is_attestation(entry)) continue;
    images++;
    only = &entry;
    if (!entry.platform) continue;
    std::optional<int> rank = platform_rank(wanted, *entry.platform);
    if (rank && (!best || *rank < best_rank)) {
      best = &entry;
      best_rank = *rank;
    }
  }
  if (!best && images == 1 && !only->platform) return only;
  return best;
}

namespace {
constexpr std::string_view kReferenceType = "vnd.docker.reference.type",
                           kReferenceDigest = "vnd.docker.reference.digest";
}

bool is_attestation(const Descriptor& descriptor) {
  return descriptor.annotation(kReferenceType) == "attestation-manifest" ||
         (descriptor.platform && descriptor.platform->is_unknown());
}

std::vector<Descriptor> attestations_of(const Index& index, const Digest& manifest) {
  std::vector<Descriptor> result;
  for (const Descriptor& entry : index.manifests)
    if (is_attestation(entry) && entry.annotation(kReferenceDigest) == manifest.to_string())
      result.push_back(entry);
  return result;
}

}  // namespace corten::oci
