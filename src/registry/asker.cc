#include "registry/asker.h"

#include <sys/random.h>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "oci/media_type.h"
#include "registry/error_body.h"

namespace corten::registry {

namespace {

constexpr size_t kMaxListsBytes = 64 << 20;  // of all pages
constexpr int kMaxPages = 10'000;
constexpr size_t kMaxPageAddress = 16 << 10;  // what is relative may make each longer than the one before
constexpr int kMirrorAttempts = 2;

uint32_t random_number() {
  uint32_t value = 0;
  if (getrandom(&value, sizeof value, GRND_NONBLOCK) != sizeof value) return 0;
  return value;
}

}  // namespace

std::string manifest_types() {
  return fmt::format("{}, {}, {}, {}", oci::kOciIndex, oci::kOciManifest, oci::kDockerIndex,
                     oci::kDockerManifest);
}

http::Request request_of(std::string method, std::string path) {
  http::Request request{.url = std::move(path), .method = std::move(method)};
  request.any_status = true;
  return request;
}

std::string some_text(http::Response& response) {
  std::string text(kMaxErrorBytes, '\0');
  size_t size = 0;
  try {
    while (response.body && size < text.size()) {
      const size_t n = response.body->read(text.data() + size, text.size() - size);
      if (n == 0) break;
      size += n;
    }
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kCancelled) throw;
  }
  text.resize(size);
  return text;
}

std::string next_link(const http::Response& response) {
  for (const auto& [name, value] : response.fields) {
    if (!iequals(name, "Link")) continue;
    const size_t open = value.find('<'), close = value.find('>');
    if (open == std::string::npos || close == std::string::npos || close < open) continue;
    const std::string rest = to_lower(value.substr(close));
    if (rest.find("rel=\"next\"") != std::string::npos || rest.find("rel=next") != std::string::npos)
      return value.substr(open + 1, close - open - 1);
  }
  return {};
}

std::string body_of(http::Response& response, size_t max_bytes) {
  if (response.size && *response.size > max_bytes)
    fail(ErrorCode::kInvalid, "{}: an answer of {} bytes; at most {} are taken", response.url, *response.size,
         max_bytes);
  return archive::read_rest(*response.body, max_bytes);
}

int64_t Asker::pause_after(int attempt) const {
  return registry::pause_after(attempt, options_.retry, random_number());
}

int64_t Asker::pause_after(const http::Response& answer, int attempt) const {
  return registry::pause_after(answer, attempt, options_.retry, SystemClock().now_s(), random_number());
}

void Asker::warn_once(const std::string& text) {
  std::lock_guard lock(mutex_);
  if (warned_.size() < 100 && warned_.insert(text).second && options_.warn) options_.warn(text);
}

// Warning: 299 - "text" is for people (spec, "Warnings").
void Asker::hear_warnings(const http::Response& response) {
  for (const auto& [name, value] : response.fields) {
    if (!iequals(name, "Warning") || !value.starts_with("299")) continue;
    const size_t open = value.find('"'), close = value.rfind('"');
    if (open == std::string::npos || close <= open + 1) continue;
    warn_once(printable(value.substr(open + 1, std::min<size_t>(close - open - 1, 500))));
  }
}

http::Response Asker::ask(const Endpoint& endpoint, const http::Request& request,
                          const std::vector<std::string>& scopes, Again again) {
  const int attempts = endpoint.is_mirror ? kMirrorAttempts : options_.retry.attempts;
  for (int attempt = 1;; attempt++) {
    options_.cancellation.check();
    int64_t wait = 0;
    try {
      http::Response response = access_.send(endpoint, request, scopes);
      const bool is_final = again == Again::kCutConnections || !is_worth_a_retry(response.status);
      if (is_final || attempt >= attempts) {
        hear_warnings(response);
        return response;
      }
      wait = pause_after(response, attempt);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kIo || !error.hint().empty() || attempt >= attempts) throw;
      // Nobody listens there: that is rarely one of the network's moods.
      if (error.system_errno() == ECONNREFUSED && attempt > 1) throw;
      wait = pause_after(attempt);
    }
    pause(wait);
  }
}

std::string Asker::ask_whole(const Endpoint& endpoint, const http::Request& request,
                             const std::vector<std::string>& scopes, size_t max_bytes,
                             http::Response& response) {
  for (int attempt = 1;; attempt++) {
    response = ask(endpoint, request, scopes);
    if (response.status != 200) return {};  // refused() reads it
    try {
      return body_of(response, max_bytes);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kIo || attempt >= options_.retry.attempts) throw;
    }
    pause(pause_after(attempt));
  }
}

Error Asker::refused(const Endpoint& endpoint, const std::string& what, http::Response& response,
                     const std::vector<std::string>& scopes) const {
  const std::string text = error_text(some_text(response));
  if (response.status == 401 || response.status == 403) {
    Error error = access_.refusal(endpoint, response.status, text, scopes);
    error.add_context(what);
    return error;
  }
  const std::string message = fmt::format("{}: {} answered {}{}{}", what, endpoint.authority, response.status,
                                          text.empty() ? "" : ": ", text);
  switch (response.status) {
    case 404:
      return Error(ErrorCode::kNotFound, message)
          .with_hint("look at the name and the tag; some registries say so too when you are not logged in");
    case 405:
      return Error(ErrorCode::kUnsupported, message).with_hint("this registry does not offer it");
    case 413:
      return Error(ErrorCode::kNoSpace, message)
          .with_hint(
              "the registry, or a proxy before it, takes no bodies of this size: raise its limit "
              "(nginx: client_max_body_size 0)");
    case 429:
      return Error(ErrorCode::kIo, message)
          .with_hint("this is a rate limit: log in, use a mirror, or try again later");
    default:
      return Error(is_worth_a_retry(response.status) ? ErrorCode::kIo : ErrorCode::kFailed, message);
  }
}

std::optional<std::vector<std::string>> Asker::all_pages(const Endpoint& endpoint, const std::string& path,
                                                         const std::vector<std::string>& scopes) {
  std::vector<std::string> pages;
  std::set<std::string> seen;
  std::string url = path;
  size_t total_bytes = 0;
  for (int page = 0; page < kMaxPages; page++) {
    http::Request request = request_of("GET", url);
    request.follows_redirects = false;
    http::Response response;
    std::string bytes = ask_whole(endpoint, request, scopes, kMaxListBytes, response);
    if (response.status == 404) return std::nullopt;
    if (response.status != 200) throw refused(endpoint, path, response, scopes);
    total_bytes += bytes.size();
    if (total_bytes > kMaxListsBytes ||
        (!pages.empty() && bytes == pages.back() && !next_link(response).empty()))
      fail(ErrorCode::kFailed, "{}: {} does not end its list", path, endpoint.authority);
    pages.push_back(std::move(bytes));
    const std::string next = next_link(response);
    if (next.empty()) return pages;
    http::Response link;
    link.url = response.url;
    link.fields = {{"Location", next}};
    url = access_.resolve_location(endpoint, link);
    if (url.size() > kMaxPageAddress)
      fail(ErrorCode::kFailed, "{}: {} names a next page whose address has {} bytes", path,
           endpoint.authority, url.size());
    if (!seen.insert(url).second)
      fail(ErrorCode::kFailed, "{}: {} names the same next page again and again", path, endpoint.authority);
  }
  fail(ErrorCode::kFailed, "{}: more than {} pages", path, kMaxPages);
}

}  // namespace corten::registry
