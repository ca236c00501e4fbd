// What refers to a manifest: by the registry's API, or by the tag that clients keep where there is none.
//
// Source: distribution-spec v1.1, "Listing Referrers" and "Referrers Tag Schema". A registry with the API
// never answers 404 there; one without it answers anything: 404, 400, 405, 501, a page, and GHCR a 303 to its
// web site, whose 429 is for browsers. So the first request is sent once, and a refusal means that the tag is
// asked for, with no waiting for a thing that is not there. What does not mean it: a registry that speaks of
// itself (a 429 in the form of the specification's errors), a server that is down (5xx), and any failure of a
// registry that had the API before. These are waited out, and are errors in the end: "nothing refers to it"
// would be a lie that loses signatures.
#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "oci/media_type.h"
#include "registry/error_body.h"
#include "registry/remote.h"

namespace corten::registry {

namespace {

constexpr size_t kMaxLooks = 100;  // at manifests, for what their tag's index does not say

bool is_index(const http::Response& response) {
  const std::string type = to_lower(trim(response.content_type.substr(0, response.content_type.find(';'))));
  return type == oci::kOciIndex;
}

// Whether a refusal may be of the API itself, and not for want of it. `text`: of its body.
bool may_pass(const Endpoint& endpoint, unsigned status, std::string_view text) {
  if (status != 429) return is_worth_a_retry(status);
  if (endpoint.registry == "ghcr.io") return false;
  const std::vector<RegistryError> errors = parse_error_body(text);
  return !errors.empty() && !errors.front().code.empty();
}

}  // namespace

std::string fallback_tag(const Digest& subject) {
  return replace_all(subject.to_string(), ":", "-");
}

// Nothing: there is no such API.
std::optional<std::vector<std::string>> Remote::referrer_pages(const Endpoint& endpoint,
                                                               const std::string& path) {
  const std::vector<std::string> scopes = {repository_scope(endpoint.repository, "pull")};
  const std::string repository = endpoint.base() + "/" + endpoint.repository;
  bool is_known = false;
  {
    std::lock_guard lock(mutex_);
    auto at = lists_referrers_.find(repository);
    if (at != lists_referrers_.end() && !at->second) return std::nullopt;
    is_known = at != lists_referrers_.end();
  }
  const auto remember = [&](bool lists) {
    std::lock_guard lock(mutex_);
    lists_referrers_[repository] = lists;
  };
  if (is_known) return asker_.all_pages(endpoint, path, scopes);

  http::Request request = request_of("GET", path);
  request.follows_redirects = false;
  http::Response response;
  try {
    response = asker_.ask(endpoint, request, scopes, Asker::Again::kCutConnections);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kPermission) throw;
    return std::nullopt;  // no token for it: the tag tells whether that is so of all
  }
  if (response.status == 401 || response.status == 403) return std::nullopt;
  if (response.status == 200) {
    remember(is_index(response));
    if (!is_index(response)) return std::nullopt;
    try {
      if (next_link(response).empty()) return std::vector<std::string>{body_of(response, kMaxListBytes)};
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kIo) throw;  // cut: once more
    }
  } else if (may_pass(endpoint, response.status, some_text(response))) {
    asker_.pause(asker_.pause_after(response, 1));
  } else {
    remember(false);
    return std::nullopt;
  }
  std::optional<std::vector<std::string>> pages = asker_.all_pages(endpoint, path, scopes);
  remember(pages.has_value());
  return pages;
}

oci::Index Remote::referrers(const oci::Reference& repository, const Digest& digest,
                             const std::string& artifact_type) {
  const Endpoint endpoint = hosts_.endpoints(repository, false).back();
  std::string path = fmt::format("/{}/referrers/{}", endpoint.repository, digest.to_string());
  if (!artifact_type.empty()) path += "?artifactType=" + http::percent_encode(artifact_type);
  oci::Index all;
  const auto pages = referrer_pages(endpoint, path);
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
