#include "registry/remote.h"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include <fmt/core.h>

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "oci/media_type.h"
#include "registry/error_body.h"

namespace corten::registry {

namespace {

std::string without_parameters(std::string_view content_type) {
  return to_lower(trim(content_type.substr(0, content_type.find(';'))));
}

// HEAD is refused without a word (RFC 9110, section 9.3.2): whoever asks for the thing itself is told why.
http::Response ask_head(Asker& asker, const Endpoint& endpoint, http::Request request,
                        const std::vector<std::string>& scopes) {
  http::Response response = asker.ask(endpoint, request, scopes);
  if (response.status < 400 || response.status == 404 || endpoint.is_mirror) return response;
  request.method = "GET";
  return asker.ask(endpoint, request, scopes, Asker::Again::kCutConnections);
}

}  // namespace

Remote::Remote(Access& access, const Hosts& hosts, RemoteOptions options)
    : access_(access), hosts_(hosts), asker_(access, std::move(options)) {}

void Remote::from_any(const oci::Reference& reference, const std::function<void(const Endpoint&)>& f) {
  const std::vector<Endpoint> endpoints = hosts_.endpoints(reference, false);
  for (size_t i = 0; i < endpoints.size(); i++) {
    const bool is_last = i + 1 == endpoints.size();
    const std::string mirror = endpoints[i].base();
    {
      std::lock_guard lock(mutex_);
      if (!is_last && failing_mirrors_.contains(mirror)) continue;
    }
    try {
      return f(endpoints[i]);
    } catch (const Error& error) {
      if (is_last || error.code() == ErrorCode::kCancelled) throw;
      if (error.code() == ErrorCode::kIo) {
        std::lock_guard lock(mutex_);
        failing_mirrors_.insert(mirror);
      }
      if (error.code() != ErrorCode::kNotFound)
        asker_.warn_once(
            fmt::format("mirror {}: {}; asking the next one", endpoints[i].authority, error.what()));
    }
  }
  fail(ErrorCode::kNotFound, "{}: no server is known for it", reference.registry());
}

Endpoint Remote::to_push(const oci::Reference& reference) const {
  std::vector<Endpoint> endpoints = hosts_.endpoints(reference, true);
  if (endpoints.empty())
    fail(ErrorCode::kPermission, "{}: nothing may be pushed there", reference.registry());
  return endpoints.back();
}

std::optional<oci::Descriptor> Remote::find(const oci::Reference& reference, bool* is_lent) {
  std::optional<oci::Descriptor> found;
  from_any(reference, [&](const Endpoint& endpoint) {
    const std::vector<std::string> scopes = {repository_scope(endpoint.repository, "pull")};
    http::Request request =
        request_of("HEAD", fmt::format("/{}/manifests/{}", endpoint.repository, reference.manifest_part()));
    request.fields.emplace_back("Accept", manifest_types());
    http::Response response = ask_head(asker_, endpoint, request, scopes);
    if (response.status == 404) {
      if (endpoint.is_mirror) throw asker_.refused(endpoint, reference.familiar(), response, scopes);
      return;
    }
    if (response.status != 200) throw asker_.refused(endpoint, reference.familiar(), response, scopes);
    if (is_lent) *is_lent = !response.field(kLentField).empty();
    const std::string named = response.field("Docker-Content-Digest");
    const auto digest = Digest::try_parse(named);
    if (reference.digest() && digest && *digest != *reference.digest())
      fail(ErrorCode::kCorrupt, "{}: {} answers with {}", reference.familiar(), endpoint.authority, named);
    if (!digest && !reference.digest()) {  // an old registry: the bytes tell
      found = manifest(reference).descriptor;
      return;
    }
    found.emplace();
    found->media_type = without_parameters(response.content_type);
    found->digest = reference.digest() ? *reference.digest() : *digest;
    found->size = response.size.value_or(0);
  });
  return found;
}

RemoteManifest Remote::manifest(const oci::Reference& reference) {
  RemoteManifest found;
  from_any(reference, [&](const Endpoint& endpoint) {
    const std::vector<std::string> scopes = {repository_scope(endpoint.repository, "pull")};
    http::Request request =
        request_of("GET", fmt::format("/{}/manifests/{}", endpoint.repository, reference.manifest_part()));
    request.fields.emplace_back("Accept", manifest_types());
    http::Response response;
    std::string bytes = asker_.ask_whole(endpoint, request, scopes, oci::kMaxManifestBytes, response);
    if (response.status != 200) throw asker_.refused(endpoint, reference.familiar(), response, scopes);
    const Digest digest = Digest::of(bytes);
    if (reference.digest() && digest != *reference.digest())
      fail(ErrorCode::kCorrupt, "{}: {} gave a manifest with the digest {}", reference.familiar(),
           endpoint.authority, digest.to_string());
    if (auto said = Digest::try_parse(response.field("Docker-Content-Digest")); said && *said != digest)
      fail(ErrorCode::kCorrupt, "{}: {} says {} of a manifest with the digest {}", reference.familiar(),
           endpoint.authority, said->to_string(), digest.to_string());
    const std::string type = without_parameters(response.content_type);
    const bool is_told = type.starts_with("application/vnd.");
    try {
      found.descriptor =
          oci::describe(oci::detect_manifest_type(bytes, is_told ? type : std::string()), bytes);
    } catch (Error& error) {
      error.add_context(fmt::format("{}: {} gave no manifest", reference.familiar(), endpoint.authority));
      throw;
    }
    found.bytes = std::move(bytes);
  });
  return found;
}

bool Remote::has_blob(const oci::Reference& repository, const Digest& digest) {
  const Endpoint endpoint = to_push(repository);
  const std::vector<std::string> scopes = {repository_scope(endpoint.repository, "pull")};
  http::Response response = ask_head(
      asker_, endpoint,
      request_of("HEAD", fmt::format("/{}/blobs/{}", endpoint.repository, digest.to_string())), scopes);
  if (response.status == 200) return true;
  if (response.status == 404) return false;
  throw asker_.refused(endpoint, "blob " + digest.to_string(), response, scopes);
}

// --- Lists ---

std::vector<std::string> Remote::tags(const oci::Reference& repository) {
  const Endpoint endpoint = hosts_.endpoints(repository, false).back();
  const std::vector<std::string> scopes = {repository_scope(endpoint.repository, "pull")};
  const auto pages =
      asker_.all_pages(endpoint, fmt::format("/{}/tags/list?n=1000", endpoint.repository), scopes);
  if (!pages) fail(ErrorCode::kNotFound, "{}: there is no such repository", repository.familiar());
  std::vector<std::string> tags;
  std::set<std::string> seen;
  for (const std::string& page : *pages)
    for (std::string& tag : Json::parse(page, kMaxListBytes).get_strings("tags"))
      if (oci::is_valid_tag(tag) && seen.insert(tag).second) tags.push_back(std::move(tag));
  return tags;
}

// --- Manifests to a registry ---

void Remote::put_manifest(const oci::Reference& reference, std::string_view bytes,
                          const std::string& media_type) {
  const Endpoint endpoint = to_push(reference);
  const std::vector<std::string> scopes = {repository_scope(endpoint.repository, "pull,push")};
  const Digest digest = Digest::of(bytes);
  const std::string part = reference.tag().empty() ? digest.to_string() : reference.tag();
  http::Request request = request_of("PUT", fmt::format("/{}/manifests/{}", endpoint.repository, part));
  request.fields.emplace_back("Content-Type", media_type);
  request.body = http::RequestBody::of(std::string(bytes));
  http::Response response = asker_.ask(endpoint, request, scopes);
  if (response.status != 201 && response.status != 200 && response.status != 202)
    throw asker_.refused(endpoint, fmt::format("push {}", reference.familiar()), response, scopes);
  some_text(response);  // so that the connection can be used again
  if (auto said = Digest::try_parse(response.field("Docker-Content-Digest")); said && *said != digest)
    fail(ErrorCode::kCorrupt, "push {}: {} stored it as {}, it is {}", reference.familiar(),
         endpoint.authority, said->to_string(), digest.to_string());
  if (!response.field("OCI-Subject").empty()) return;
  std::optional<oci::Descriptor> subject;
  oci::Descriptor entry = oci::describe(media_type, bytes);
  if (oci::is_index_type(media_type)) {
    const oci::Index index = oci::parse_index(bytes, media_type);
    subject = index.subject;
    entry.artifact_type = index.artifact_type;
    entry.annotations = index.annotations;
  } else {
    const oci::Manifest manifest = oci::parse_manifest(bytes, media_type);
    subject = manifest.subject;
    entry.artifact_type =
        manifest.artifact_type.empty() ? manifest.config.media_type : manifest.artifact_type;
    entry.annotations = manifest.annotations;
  }
  if (subject) add_fallback_referrer(reference, subject->digest, entry);
}

bool Remote::remove_manifest(const oci::Reference& reference) {
  const Endpoint endpoint = to_push(reference);
  const std::vector<std::string> scopes = {repository_scope(endpoint.repository, "pull,delete")};
  http::Response response = asker_.ask(
      endpoint,
      request_of("DELETE", fmt::format("/{}/manifests/{}", endpoint.repository, reference.manifest_part())),
      scopes);
  if (response.status == 404) return false;
  if (response.status == 202 || response.status == 200 || response.status == 204) return true;
  throw asker_.refused(endpoint, "delete " + reference.familiar(), response, scopes);
}

}  // namespace corten::registry
