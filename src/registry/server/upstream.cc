#include "registry/server/upstream.h"

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "http/url.h"
#include "oci/manifest.h"
#include "registry/access.h"
#include "registry/error_body.h"

namespace corten::registry::serving {

struct Upstream::Inside {
  Endpoint endpoint;
  Cancellation cancellation;
  Access access;

  explicit Inside(Endpoint given)
      : endpoint(std::move(given)),
        access({.http = {.timeouts = {.cancellation = cancellation}, .cancellation = cancellation},
                .credentials = Credentials::from_system()}) {}

  // Nothing for 404; Error for every other refusal. 206 is an answer to who sends a Range.
  std::optional<http::Response> ask(const std::string& method, const std::string& repository,
                                    const std::string& rest, http::Fields fields) {
    const std::vector<std::string> scopes{repository_scope(repository, "pull")};
    http::Response response = access.send(
        endpoint,
        {.url = "/" + repository + rest, .fields = std::move(fields), .method = method, .any_status = true},
        scopes);
    if (response.status == 200 || response.status == 206) return response;
    if (response.status == 404) return std::nullopt;
    std::string text;
    if (response.body) {
      std::string body(kMaxErrorBytes, '\0');
      body.resize(archive::read_fully(*response.body, body.data(), body.size()));
      text = error_text(body);
    }
    if (response.status == 401 || response.status == 403)
      throw access.refusal(endpoint, response.status, text, scopes);
    fail(response.status >= 500 || response.status == 429 ? ErrorCode::kIo : ErrorCode::kFailed,
         "{}: answered {}: {}", endpoint.authority, response.status, text);
  }
};

namespace {

Endpoint endpoint_of(const std::string& address) {
  const http::Url url = http::parse_url(address);
  if (url.is_file() || url.target.size() > 1)
    throw Error(ErrorCode::kUsage, fmt::format("--proxy {}: not a registry's address", quote(address)))
        .with_hint("for example https://registry-1.docker.io");
  Endpoint endpoint = Hosts::from_system().origin(url.authority());
  endpoint.scheme = url.scheme;
  endpoint.authority = url.authority();
  endpoint.may_be_either_scheme = false;
  if (endpoint.authority == "registry-1.docker.io") endpoint.registry = "docker.io";
  return endpoint;
}

http::Fields accepting_manifests() {
  return {{"Accept", fmt::format("{}, {}, {}, {}, */*", oci::kOciIndex, oci::kOciManifest, oci::kDockerIndex,
                                 oci::kDockerManifest)}};
}

}  // namespace

Upstream::Upstream(const std::string& address) : inside_(std::make_unique<Inside>(endpoint_of(address))) {}
Upstream::~Upstream() = default;

void Upstream::cancel() {
  inside_->cancellation.cancel();
}

const Cancellation& Upstream::cancellation() const {
  return inside_->cancellation;
}

std::optional<ContentDigest> Upstream::resolve(const std::string& repository, const std::string& tag) const {
  const std::optional<http::Response> response =
      inside_->ask("HEAD", repository, "/manifests/" + tag, accepting_manifests());
  return response ? ContentDigest::parse(response->field("Docker-Content-Digest")) : std::nullopt;
}

std::optional<Upstream::Manifest> Upstream::manifest(const std::string& repository,
                                                     const std::string& reference) const {
  const std::optional<http::Response> response =
      inside_->ask("GET", repository, "/manifests/" + reference, accepting_manifests());
  if (!response) return std::nullopt;
  const std::string& type = response->content_type;
  return Manifest{std::string(trim(std::string_view(type).substr(0, type.find(';')))),
                  archive::read_rest(*response->body, oci::kMaxManifestBytes)};
}

std::optional<Upstream::Blob> Upstream::blob(const std::string& repository, const ContentDigest& digest,
                                             uint64_t offset) const {
  http::Fields fields;
  if (offset > 0) fields.emplace_back("Range", fmt::format("bytes={}-", offset));
  std::optional<http::Response> response =
      inside_->ask("GET", repository, "/blobs/" + digest.to_string(), std::move(fields));
  if (!response) return std::nullopt;
  Blob blob{std::move(response->body), 0, response->size};
  if (response->status == 206) {
    const std::string range = response->field("Content-Range");
    if (!range.starts_with(fmt::format("bytes {}-", offset)))
      fail(ErrorCode::kIo, "{}: bytes from {} on were asked for, these are {}", inside_->endpoint.authority,
           offset, quote(range));
    blob.offset = offset;
    if (blob.size) *blob.size += offset;
  }
  return blob;
}

}  // namespace corten::registry::serving
