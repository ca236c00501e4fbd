#include "registry/token_server.h"

#include <arpa/inet.h>

#include <algorithm>

#include "archive/source.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "http/url.h"
#include "registry/error_body.h"

namespace corten::registry {

namespace {

constexpr size_t kMaxAnswer = 1 << 20;
constexpr size_t kMaxToken = 256 << 10;
constexpr int kMaxRedirects = 5;
constexpr int64_t kDefaultLife = 60;  // "expires_in (Optional) ... defaults to 60 seconds"
constexpr const char* kClient = "corten";

bool is_private(const in_addr& address) {
  const uint32_t n = ntohl(address.s_addr);
  const auto within = [n](uint32_t network, int bits) { return (n ^ network) >> (32 - bits) == 0; };
  return within(0x7F000000, 8) || within(0x0A000000, 8) || within(0xAC100000, 12) || within(0xC0A80000, 16) ||
         within(0xA9FE0000, 16) || within(0x64400000, 10) || within(0, 8) || within(0xE0000000, 3);
}

bool is_private(const in6_addr& address) {
  constexpr uint8_t kNat64[12] = {0, 0x64, 0xFF, 0x9B};
  if (IN6_IS_ADDR_V4MAPPED(&address) || IN6_IS_ADDR_V4COMPAT(&address) ||
      std::equal(kNat64, kNat64 + 12, address.s6_addr)) {
    in_addr inner;
    std::copy_n(address.s6_addr + 12, 4, reinterpret_cast<uint8_t*>(&inner.s_addr));
    return is_private(inner);
  }
  return IN6_IS_ADDR_LOOPBACK(&address) || IN6_IS_ADDR_UNSPECIFIED(&address) ||
         IN6_IS_ADDR_LINKLOCAL(&address) || IN6_IS_ADDR_SITELOCAL(&address) ||
         IN6_IS_ADDR_MULTICAST(&address) || (address.s6_addr[0] & 0xFE) == 0xFC;
}

// This machine or a private network, by number or by a name that always means it. Numbers in odd spellings
// ("127.1", "0x7f000001") count: some resolver understands them.
bool names_private_place(std::string host) {
  while (host.ends_with('.')) host.pop_back();
  if (host == "localhost" || host.ends_with(".localhost")) return true;
  if (size_t zone = host.find('%'); zone != std::string::npos) host.resize(zone);
  in_addr four;
  if (inet_pton(AF_INET, host.c_str(), &four) == 1) return is_private(four);
  in6_addr six;
  if (inet_pton(AF_INET6, host.c_str(), &six) == 1) return is_private(six);
  if (host.find(':') != std::string::npos) return true;
  const std::string last = host.substr(host.rfind('.') + 1);  // npos + 1 is 0
  return last.starts_with("0x") ||
         (!last.empty() && last.find_first_not_of("0123456789") == std::string::npos);
}

std::string host_of(const std::string& authority) {
  return http::parse_url("http://" + authority).host;
}

void check_place(const http::Url& url, const TokenRequest& request, std::string_view what) {
  if (url.is_file())
    fail(ErrorCode::kPermission, "registry {}: its {} {} is a file of this machine", request.registry, what,
         quote(url.shown()));
  if (url.scheme != "https" && !request.is_insecure)
    throw Error(ErrorCode::kPermission, fmt::format("registry {}: its {} {} is not encrypted",
                                                    request.registry, what, quote(url.shown())))
        .with_hint("credentials are not sent there; tell who runs the registry");
  if (url.host != host_of(request.registry) && names_private_place(url.host))
    throw Error(
        ErrorCode::kPermission,
        fmt::format("registry {}: its {} {} is on another host of this machine or of a private network",
                    request.registry, what, quote(url.shown())))
        .with_hint("nothing is sent there; a token server of your own needs a host name");
}

std::string form(const std::vector<std::pair<std::string, std::string>>& values) {
  std::string text;
  for (const auto& [name, value] : values)
    text += (text.empty() ? "" : "&") + name + "=" + http::percent_encode(value);
  return text;
}

struct Answer {
  unsigned status = 0;
  std::string body, text;  // text: status and the server's words, for errors
  http::Response from;     // without its body
};

Answer read_answer(http::Response response) {
  if (!response.content_encoding.empty() && !iequals(response.content_encoding, "identity"))
    fail(ErrorCode::kInvalid, "token server {}: it sent a compressed answer, which was not asked for",
         response.url.substr(0, response.url.find('?')));
  const bool is_good = response.status == 200;
  std::string body;
  try {
    if (is_good) {
      body = archive::read_rest(*response.body, kMaxAnswer);
    } else {
      body.resize(kMaxErrorBytes);
      size_t size = 0;
      while (size < body.size()) {
        const size_t n = response.body->read(body.data() + size, body.size() - size);
        if (n == 0) break;
        size += n;
      }
      body.resize(size);
    }
  } catch (Error& error) {
    error.add_context("answer of the token server");
    throw;
  }
  const std::string words = is_good ? "" : error_text(body);
  std::string text = fmt::format("{}{}{}", response.status, words.empty() ? "" : ": ", words);
  response.body.reset();
  response.url.resize(std::min(response.url.find('?'), response.url.size()));
  return {response.status, std::move(body), std::move(text), std::move(response)};
}

Answer ask_by_get(http::Client& client, const TokenRequest& request, const Credential& credential) {
  std::vector<std::pair<std::string, std::string>> values;
  if (!request.service.empty()) values.emplace_back("service", request.service);
  for (const std::string& scope : request.scopes) values.emplace_back("scope", scope);
  http::Request asked{.url = request.realm, .any_status = true, .follows_redirects = false};
  const std::string user = credential.user.empty() ? "<token>" : credential.user;
  const std::string secret = credential.password.empty() ? credential.identity_token : credential.password;
  if (!secret.empty()) {
    if (!credential.user.empty()) values.emplace_back("account", user);
    if (request.wants_refresh_token) {
      values.emplace_back("offline_token", "true");
      values.emplace_back("client_id", kClient);
    }
    asked.fields.emplace_back("Authorization", "Basic " + base64_encode(user + ":" + secret));
  }
  if (!values.empty()) asked.url += (asked.url.find('?') == std::string::npos ? "?" : "&") + form(values);
  for (int redirects = 0;; redirects++) {
    http::Response response = client.open(asked);
    const std::string location = response.field("Location");
    if (response.status < 300 || response.status > 399 || location.empty())
      return read_answer(std::move(response));
    if (redirects == kMaxRedirects)
      fail(ErrorCode::kFailed, "token server of {}: more than {} redirects", request.registry, kMaxRedirects);
    const http::Url from = http::parse_url(asked.url), next = http::resolve_url(from, location);
    check_place(next, request, "token server's redirect");
    if (from.scheme == "https" && next.scheme != "https")
      fail(ErrorCode::kPermission, "token server of {}: redirected to {}, which is not encrypted",
           request.registry, quote(next.shown()));
    if (next.authority() != from.authority() || next.scheme != from.scheme) asked.fields.clear();
    asked.url = next.shown();
  }
}

Answer ask_by_post(http::Client& client, const TokenRequest& request) {
  std::vector<std::pair<std::string, std::string>> values = {
      {"grant_type", "refresh_token"}, {"service", request.service}, {"client_id", kClient}};
  if (!request.scopes.empty()) values.emplace_back("scope", join(request.scopes, " "));
  values.emplace_back("refresh_token", request.credential.identity_token);
  http::Request asked{.url = request.realm,
                      .fields = {{"Content-Type", "application/x-www-form-urlencoded"}},
                      .method = "POST",
                      .body = http::RequestBody::of(form(values)),
                      .any_status = true,
                      .follows_redirects = false};
  return read_answer(client.open(asked));
}

Token parse_token(const std::string& body, int64_t now_s, const std::string& server) {
  Token token;
  try {
    const Json json = Json::parse(body, kMaxAnswer);
    token.value = json.get_string("token");
    if (token.value.empty()) token.value = json.get_string("access_token");
    token.refresh_token = json.get_string("refresh_token");
    token.lasts_s = json.get_int("expires_in", kDefaultLife);
    if (token.lasts_s <= 0) token.lasts_s = kDefaultLife;
    token.lasts_s = std::min<int64_t>(token.lasts_s, 24 * 3600);
    // A token may come out of the server's own cache. A clock that is far off tells nothing.
    if (auto issued = parse_rfc3339(json.get_string("issued_at")))
      if (const int64_t age = now_s - *issued; age > 0 && age < token.lasts_s) token.lasts_s -= age;
  } catch (const Error&) {  // its words could quote the token
    fail(ErrorCode::kFailed, "token server {}: its answer is not the JSON of a token", server);
  }
  if (token.value.empty()) fail(ErrorCode::kFailed, "token server {}: its answer has no token", server);
  const bool is_sound =
      token.value.size() <= kMaxToken &&
      std::all_of(token.value.begin(), token.value.end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (!is_sound) fail(ErrorCode::kFailed, "token server {}: malformed token", server);
  return token;
}

ErrorCode code_of_status(unsigned status) {
  if (status == 400 || status == 401 || status == 403) return ErrorCode::kPermission;
  if (status == 408 || status == 429 || status >= 500) return ErrorCode::kIo;
  return ErrorCode::kFailed;
}

}  // namespace

void check_realm(const std::string& realm, const TokenRequest& request) {
  http::Url url;
  try {
    url = http::parse_url(realm);
  } catch (Error& error) {
    error.add_context("registry " + request.registry + ": its realm");
    throw;
  }
  if (!url.user_info.empty())
    fail(ErrorCode::kPermission, "registry {}: its realm {} names a user", request.registry,
         quote(url.shown()));
  check_place(url, request, "realm");
}

Token fetch_token(http::Client& client, const TokenRequest& request, int64_t now_s, const RetryRules& retry,
                  const Cancellation& cancellation) {
  check_realm(request.realm, request);
  http::Url shown = http::parse_url(request.realm);
  shown.target.resize(std::min(shown.target.find('?'), shown.target.size()));
  const bool by_post = !request.credential.identity_token.empty();
  for (int attempt = 1;; attempt++) {
    Answer answer;
    if (by_post) answer = ask_by_post(client, request);
    if (!by_post || answer.status == 404 || answer.status == 405)
      answer = ask_by_get(client, request, request.credential);
    if (answer.status == 200) return parse_token(answer.body, now_s, shown.shown());
    if (attempt == retry.attempts || !is_worth_a_retry(answer.status) ||
        answer.from.field("Retry-After").empty())
      fail(code_of_status(answer.status), "token server {} answered {}", shown.shown(), answer.text);
    const int64_t pause_ms =
        pause_after(answer.from, attempt, retry, now_s, static_cast<uint32_t>(monotonic_ns()));
    wait_for_retry(pause_ms, cancellation);
  }
}

}  // namespace corten::registry
