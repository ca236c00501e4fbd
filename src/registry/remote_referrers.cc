// What refers to a manifest: by the registry's API, or by the tag that clients keep where there is none.
//
// Source: distribution-spec v1.1, "Listing Referrers" and "Referrers Tag Schema".
#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "oci/media_type.h"
#include "registry/remote.h"

namespace corten::registry {

namespace {

constexpr size_t kMaxLooks = 100;  // at manifests, for what their tag's index does not say

}  // namespace

std::string fallback_tag(const Digest& subject) {
  return replace_all(subject.to_string(), ":", "-");
}

oci::Index Remote::referrers(const oci::Reference& repository, const Digest& digest,
                             const std::string& artifact_type) {
  const Endpoint endpoint = hosts_.endpoints(repository, false).back();
  std::string path = fmt::format("/{}/referrers/{}", endpoint.repository, digest.to_string());
  if (!artifact_type.empty()) path += "?artifactType=" + http::percent_encode(artifact_type);
  oci::Index all;
  const auto pages = referrers_api_.pages(endpoint, path);
  if (pages) {
    for (const std::string& page : *pages)
      for (oci::Descriptor& entry : oci::parse_index(page).manifests)
        all.manifests.push_back(std::move(entry));
  } else {
    const oci::Reference tag = repository.repository_only().with_tag(fallback_tag(digest));
    try {
      RemoteManifest found = manifest(tag);
      if (oci::is_index_type(found.descriptor.media_type)) all = oci::parse_index(found.bytes);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNotFound) throw;
    }
  }
  if (artifact_type.empty()) return all;
  size_t looks = 0;
  std::erase_if(all.manifests, [&](const oci::Descriptor& entry) {
    if (entry.artifact_type == artifact_type) return false;
    // Clients have kept such tags with another type in them, or none (sigstore/cosign#4641).
    if (pages || oci::is_index_type(entry.media_type) || ++looks > kMaxLooks) return true;
    try {
      const oci::Manifest at = oci::parse_manifest(
          manifest(repository.repository_only().with_digest(entry.digest)).bytes, entry.media_type);
      return (at.artifact_type.empty() ? at.config.media_type : at.artifact_type) != artifact_type;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNotFound && error.code() != ErrorCode::kInvalid) throw;
      return true;
    }
  });
  return all;
}

// Two who do this at one time may lose one's entry where the registry has no If-Match: so it is read back.
void Remote::add_fallback_referrer(const oci::Reference& repository, const Digest& subject,
                                   const oci::Descriptor& entry) {
  const oci::Reference tag = repository.repository_only().with_tag(fallback_tag(subject));
  const auto has = [&](const oci::Index& index) {
    return std::any_of(index.manifests.begin(), index.manifests.end(),
                       [&](const oci::Descriptor& known) { return known.digest == entry.digest; });
  };
  for (int attempt = 1; attempt <= asker_.options().retry.attempts; attempt++) {
    oci::Index index;
    try {
      RemoteManifest found = manifest(tag);
      if (!oci::is_index_type(found.descriptor.media_type))
        fail(ErrorCode::kExists, "{}: this tag is for what refers to an image, and holds something else",
             tag.familiar());
      index = oci::parse_index(found.bytes);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNotFound) throw;
    }
    if (has(index)) return;
    index.manifests.push_back(entry);
    index.raw.clear();
    put_manifest(tag, oci::emit_index(index), std::string(oci::kOciIndex));
  }
  fail(ErrorCode::kFailed, "{}: another one keeps writing this tag", tag.familiar());
}

}  // namespace corten::registry
