#include "registry/clean/distribution_repository.h"

#include <fmt/core.h>

#include "base/digest.h"
#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/thread_pool.h"

namespace corten::registry::clean {

namespace {

constexpr size_t kMaxManifest = 16 << 20;  // others' registries may take more than we do
constexpr size_t kMaxTags = 500'000;
constexpr unsigned kReaders = 8;

// Of manifests that an early draft of the image specification knew, too: what refers to them stays.
std::string accepted_types() {
  return manifest_types() + ", application/vnd.oci.artifact.manifest.v1+json";
}

}  // namespace

DistributionRepository::DistributionRepository(Access& access, Endpoint endpoint, std::string repository,
                                               RetryRules retry)
    : endpoint_(std::move(endpoint)), repository_(std::move(repository)), asker_(access, {.retry = retry}) {}

std::vector<std::string> DistributionRepository::scopes(const std::string& actions) const {
  return {repository_scope(repository_, actions)};
}

http::Request DistributionRepository::request(const std::string& method, const std::string& path,
                                              const std::string& accept) const {
  http::Request request = request_of(method, "/" + repository_ + path);
  if (!accept.empty()) request.fields.emplace_back("Accept", accept);
  return request;
}

Error DistributionRepository::refused(const std::string& what, http::Response& response,
                                      const std::string& actions) const {
  return asker_.refused(endpoint_, name() + ": " + what, response, scopes(actions));
}

std::vector<std::string> DistributionRepository::list_tags() {
  const auto pages = asker_.all_pages(endpoint_, "/" + repository_ + "/tags/list?n=1000", scopes("pull"));
  if (!pages) fail(ErrorCode::kNotFound, "{}: there is no such repository", name());
  std::vector<std::string> tags;
  for (const std::string& page : *pages)
    for (std::string& tag : Json::parse(page, kMaxListBytes).get_strings("tags"))
      if (oci::is_valid_tag(tag)) tags.push_back(std::move(tag));
  if (tags.size() > kMaxTags) fail(ErrorCode::kNoSpace, "{}: more than {} tags", name(), kMaxTags);
  return tags;
}

std::string DistributionRepository::digest_of_tag(const std::string& tag) {
  const std::string path = "/manifests/" + tag;
  http::Response response = asker_.ask(endpoint_, request("HEAD", path, accepted_types()), scopes("pull"));
  if (response.status == 404) return {};
  std::string digest = response.status == 200 ? response.field("Docker-Content-Digest") : "";
  if (!digest.empty()) return digest;
  // No such field, or no HEAD: the bytes tell.
  const auto bytes = read(path, accepted_types(), "tag " + tag, kMaxManifest);
  return bytes ? Digest::of(*bytes).to_string() : "";
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

std::optional<std::string> DistributionRepository::read(const std::string& path, const std::string& accept,
                                                        const std::string& what, size_t max_bytes) {
  http::Response response;
  std::string bytes =
      asker_.ask_whole(endpoint_, request("GET", path, accept), scopes("pull"), max_bytes, response);
  if (response.status == 404) return std::nullopt;
  if (response.status != 200) throw refused(what, response, "pull");
  return bytes;
}

std::optional<std::string> DistributionRepository::read_manifest(const std::string& digest) {
  return read("/manifests/" + digest, accepted_types(), "manifest " + digest, kMaxManifest);
}

std::optional<std::string> DistributionRepository::read_blob(const std::string& digest, size_t max_bytes) {
  return read("/blobs/" + digest, {}, "blob " + digest, max_bytes);
}

std::vector<std::string> DistributionRepository::referrers(const std::string& digest) {
  const auto pages = referrers_api_.pages(endpoint_, "/" + repository_ + "/referrers/" + digest);
  if (!pages) return {};
  std::vector<std::string> digests;
  for (const std::string& page : *pages) {
    const Json json = Json::parse(page, kMaxListBytes);
    if (const Json* manifests = json.find("manifests"))
      for (const Json& descriptor : manifests->as_array()) digests.push_back(descriptor.get_string("digest"));
  }
  return digests;
}

// False when the registry refuses this kind of reference.
bool DistributionRepository::delete_reference(const std::string& reference) {
  http::Response response =
      asker_.ask(endpoint_, request("DELETE", "/manifests/" + reference), scopes("pull,delete"));
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
