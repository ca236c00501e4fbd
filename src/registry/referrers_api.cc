#include "registry/referrers_api.h"

#include "base/error.h"
#include "base/strings.h"
#include "oci/media_type.h"
#include "registry/error_body.h"

namespace corten::registry {

namespace {

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

std::optional<std::vector<std::string>> ReferrersApi::pages(const Endpoint& endpoint,
                                                            const std::string& path) {
  const std::vector<std::string> scopes = {repository_scope(endpoint.repository, "pull")};
  const std::string repository = endpoint.base() + "/" + endpoint.repository;
  bool is_known = false;
  {
    std::lock_guard lock(mutex_);
    auto at = known_.find(repository);
    if (at != known_.end() && !at->second) return std::nullopt;
    is_known = at != known_.end();
  }
  const auto remember = [&](bool lists) {
    std::lock_guard lock(mutex_);
    known_[repository] = lists;
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
  std::optional<std::vector<std::string>> all = asker_.all_pages(endpoint, path, scopes);
  remember(all.has_value());
  return all;
}

}  // namespace corten::registry
