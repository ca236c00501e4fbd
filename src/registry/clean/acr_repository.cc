#include "registry/clean/acr_repository.h"

#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"

namespace corten::registry::clean {

namespace {

constexpr int kMaxPages = 5000, kPageSize = 100;

}  // namespace

http::Response AcrRepository::send_own(const std::string& method, const std::string& path,
                                       const std::string& actions) {
  const http::Request request = request_of(method, fmt::format("{}://{}/acr/v1/{}{}", endpoint().scheme,
                                                               endpoint().authority, repository(), path));
  return asker().ask(endpoint(), request, scopes(actions));
}

Listing AcrRepository::list() {
  Listing listing{.is_complete = true};
  std::string last;
  for (int page = 0; page < kMaxPages; page++) {
    std::string path = fmt::format("/_manifests?n={}{}", kPageSize,
                                   last.empty() ? "" : "&last=" + http::percent_encode(last));
    http::Response response = send_own("GET", path, "metadata_read");
    if (response.status == 404 && page == 0) return listing;
    if (response.status != 200) throw refused("list of manifests", response, "metadata_read");
    Json json = Json::parse(body_of(response, kMaxListBytes), kMaxListBytes);
    const Json* manifests = json.find("manifests");
    if (!manifests || manifests->size() == 0) return listing;
    for (const Json& manifest : manifests->as_array()) {
      Listed listed{.digest = manifest.get_string("digest")};
      listed.pushed_s =
          parse_rfc3339(manifest.get_string("lastUpdateTime", manifest.get_string("createdTime")));
      if (const Json* attributes = manifest.find("changeableAttributes"))
        listed.is_locked =
            !attributes->get_bool("deleteEnabled", true) || !attributes->get_bool("writeEnabled", true);
      for (const std::string& tag : manifest.get_strings("tags")) listing.tags[tag] = listed.digest;
      last = listed.digest;
      listing.manifests.push_back(std::move(listed));
    }
  }
  fail(ErrorCode::kFailed, "{}: the list of manifests has more than {} pages", name(), kMaxPages);
}

void AcrRepository::untag(const std::string& tag) {
  http::Response response = send_own("DELETE", "/_tags/" + tag, "delete");
  if (response.status != 202 && response.status != 200 && response.status != 404)
    throw refused("removal of tag " + tag, response, "delete");
}

}  // namespace corten::registry::clean
