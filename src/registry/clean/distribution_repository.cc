#include "registry/clean/distribution_repository.h"

#include <mutex>

#include <fmt/core.h>

#include "base/digest.h"
#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "oci/media_type.h"
#include "registry/error_body.h"

namespace corten::registry::clean {

namespace {

constexpr size_t kMaxManifestBytes = 16 << 20, kMaxListBytes = 64 << 20;
constexpr size_t kMaxTags = 500'000;
constexpr int kMaxPages = 5000;
constexpr unsigned kReaders = 8;

std::string accepted_types() {
  return fmt::format("{}, {}, {}, {}, application/vnd.oci.artifact.manifest.v1+json", oci::kOciIndex,
                     oci::kOciManifest, oci::kDockerIndex, oci::kDockerManifest);
}

std::string body_of(http::Response& response, size_t max_bytes) {
  return archive::read_rest(*response.body, max_bytes);
}

// The address of Link: <...>; rel="next" (RFC 8288), or "".
std::string next_page(const http::Response& response) {
  for (const auto& [name, value] : response.fields) {
    if (!iequals(name, "Link")) continue;
    size_t open = value.find('<'), close = value.find('>');
    if (open == std::string::npos || close == std::string::npos || close < open) continue;
    std::string rest = to_lower(value.substr(close));
    if (rest.find("rel=\"next\"") != std::string::npos || rest.find("rel=next") != std::string::npos)
      return value.substr(open + 1, close - open - 1);
  }
  return {};
}

}  // namespace

DistributionRepository::DistributionRepository(Access& access, Endpoint endpoint, std::string repository)
    : access_(access), endpoint_(std::move(endpoint)), repository_(std::move(repository)) {}

http::Response DistributionRepository::send(const std::string& method, const std::string& path,
                                            const std::string& actions, const std::string& accept) {
  http::Request request{.url = path.starts_with("http") ? path : "/" + repository_ + path, .method = method};
  request.any_status = true;
  if (!accept.empty()) request.fields.emplace_back("Accept", accept);
  return access_.send(endpoint_, request, {repository_scope(repository_, actions)});
}

Error DistributionRepository::refused(const std::string& what, http::Response& response,
                                      const std::string& scope) const {
  std::string text = error_text(body_of(response, kMaxErrorBytes * 4));
  if (response.status == 401 || response.status == 403)
    return access_.refusal(endpoint_, response.status, text, {repository_scope(repository_, scope)});
  ErrorCode code = response.status == 404   ? ErrorCode::kNotFound
                   : response.status == 405 ? ErrorCode::kUnsupported
                                            : ErrorCode::kFailed;
  return Error(code,
               fmt::format("{}: {}: {}{}{}", name(), what, response.status, text.empty() ? "" : " ", text));
}

std::vector<std::string> DistributionRepository::list_tags() {
  std::vector<std::string> tags;
  std::string path = "/tags/list?n=1000";
  for (int page = 0; page < kMaxPages; page++) {
    http::Response response = send("GET", path, "pull");
    if (response.status != 200) throw refused("list of tags", response, "pull");
    Json json = Json::parse(body_of(response, kMaxListBytes), kMaxListBytes);
    for (std::string& tag : json.get_strings("tags"))
      if (oci::is_valid_tag(tag)) tags.push_back(std::move(tag));
    if (tags.size() > kMaxTags) fail(ErrorCode::kNoSpace, "{}: more than {} tags", name(), kMaxTags);
    std::string next = next_page(response);
    if (next.empty()) return tags;
    path = access_.resolve_location(endpoint_, [&] {
      http::Response link;
      link.url = response.url;
      link.fields = {{"Location", next}};
      return link;
    }());
  }
  fail(ErrorCode::kFailed, "{}: the list of tags has more than {} pages", name(), kMaxPages);
}

std::string DistributionRepository::digest_of_tag(const std::string& tag) {
  http::Response response = send("HEAD", "/manifests/" + tag, "pull", accepted_types());
  if (response.status == 404) return {};
  std::string digest = response.status == 200 ? response.field("Docker-Content-Digest") : "";
  if (!digest.empty()) return digest;
  // No such field, or no HEAD: the bytes tell.
  http::Response whole = send("GET", "/manifests/" + tag, "pull", accepted_types());
  if (whole.status == 404) return {};
  if (whole.status != 200) throw refused("tag " + tag, whole, "pull");
  return Digest::of(body_of(whole, kMaxManifestBytes)).to_string();
}

Listing DistributionRepository::list() {
  std::vector<std::string> tags = list_tags();
  std::vector<std::string> digests(tags.size());
  parallel_for(tags.size(), kReaders, [&](size_t i) { digests[i] = digest_of_tag(tags[i]); });
  Listing listing;
  for (size_t i = 0; i < tags.size(); i++)
    if (!digests[i].empty()) listing.tags[tags[i]] = digests[i];
  return listing;
}

std::optional<std::string> DistributionRepository::read_manifest(const std::string& digest) {
  http::Response response = send("GET", "/manifests/" + digest, "pull", accepted_types());
  if (response.status == 404) return std::nullopt;
  if (response.status != 200) throw refused("manifest " + digest, response, "pull");
  return body_of(response, kMaxManifestBytes);
}

std::optional<std::string> DistributionRepository::read_blob(const std::string& digest, size_t max_bytes) {
  http::Response response = send("GET", "/blobs/" + digest, "pull");
  if (response.status == 404) return std::nullopt;
  if (response.status != 200) throw refused("blob " + digest, response, "pull");
  return body_of(response, max_bytes);
}

std::vector<std::string> DistributionRepository::referrers(const std::string& digest) {
  http::Request request{.url = fmt::format("/{}/referrers/{}", repository_, digest)};
  request.any_status = true;
  request.follows_redirects = false;
  http::Response response;
  try {
    response = access_.send(endpoint_, request, {repository_scope(repository_, "pull")});
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kPermission) return {};
    throw;
  }
  if (response.status != 200) return {};
  Json json = Json::parse(body_of(response, kMaxListBytes), kMaxListBytes);
  std::vector<std::string> digests;
  if (const Json* manifests = json.find("manifests"))
    for (const Json& descriptor : manifests->as_array()) digests.push_back(descriptor.get_string("digest"));
  return digests;
}

// False when the registry refuses this kind of reference.
bool DistributionRepository::delete_reference(const std::string& reference) {
  http::Response response = send("DELETE", "/manifests/" + reference, "pull,delete");
  if (response.status == 202 || response.status == 200 || response.status == 204 || response.status == 404)
    return true;
  if (response.status == 400 || response.status == 405) return false;
  throw refused("deletion of " + reference, response, "pull,delete");
}

void DistributionRepository::remove(const std::string& digest) {
  if (delete_reference(digest)) return;
  throw Error(ErrorCode::kUnsupported, fmt::format("{}: this registry deletes nothing", endpoint_.registry))
      .with_hint(
          "docker-registry needs storage.delete.enabled; GitHub, ECR and ACR are cleaned by their own APIs");
}

void DistributionRepository::untag(const std::string& tag) {
  if (delete_reference(tag)) return;
  fail(ErrorCode::kUnsupported, "tag {}: this registry cannot remove a tag alone", tag);
}

}  // namespace corten::registry::clean
