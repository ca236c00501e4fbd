#include "registry/access.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>

#include "archive/source.h"
#include "base/strings.h"
#include "http/url.h"
#include "registry/challenge.h"
#include "registry/token_server.h"

namespace corten::registry {

namespace {

constexpr int64_t kSecond = 1'000'000'000;
// More rounds of one request are not made: a challenge, a renewal, two growths of its scopes.
constexpr int kMaxRounds = 4;
constexpr size_t kMaxDrained = 64 << 10;
constexpr size_t kMaxTokens = 1000;

// The repository of "repository:NAME:ACTIONS"; "" for other kinds.
std::string repository_of(const std::vector<std::string>& scopes) {
  if (scopes.empty() || !scopes.front().starts_with("repository:")) return {};
  const std::string& scope = scopes.front();
  const size_t end = scope.rfind(':');
  return end <= 11 ? "" : scope.substr(11, end - 11);
}

// So that the connection can be used again.
void drain_some(http::Response& response) {
  char buffer[4096];
  size_t came = 0;
  try {
    while (came < kMaxDrained) {
      const size_t n = response.body->read(buffer, sizeof buffer);
      if (n == 0) break;
      came += n;
    }
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kCancelled) throw;
  }
}

// The challenge that we can answer: a token before a password, which then goes to the token server alone.
std::optional<Challenge> answerable(const http::Response& response) {
  std::optional<Challenge> basic;
  for (const auto& [name, value] : response.fields) {
    if (!iequals(name, "WWW-Authenticate")) continue;
    for (Challenge& challenge : parse_challenges(value)) {
      if (challenge.scheme == "bearer" && !challenge.parameter("realm").empty()) return challenge;
      if (challenge.scheme == "basic" && !basic) basic = std::move(challenge);
    }
  }
  return basic;
}

// With what to do about a certificate of a registry of one's own.
http::Response open_at(http::Client& client, const http::Request& request, const Endpoint& endpoint) {
  try {
    return client.open(request);
  } catch (Error& error) {
    if (error.code() == ErrorCode::kPermission && error.message().find("certificate") != std::string::npos)
      error.set_hint(
          fmt::format("put the certificate of its authority into ~/.config/containers/certs.d/{0}/ca.crt "
                      "or /etc/docker/certs.d/{0}/ca.crt, or name a bundle with SSL_CERT_FILE",
                      endpoint.authority));
    throw;
  }
}

bool is_own(const http::Url& url, const http::Url& own) {
  return url.scheme == own.scheme && url.host == own.host && url.port == own.port;
}

// http://host/... where the registry is https://host/...: it stands behind a proxy and does not know.
void keep_scheme(http::Url& url, const http::Url& own) {
  if (url.scheme != "http" || own.scheme != "https" || url.host != own.host) return;
  if (url.port != own.port && !(url.port == 80 && own.port == 443)) return;
  url.scheme = own.scheme;
  url.port = own.port;
}

std::vector<std::string> sorted_actions(std::string_view scope) {
  std::vector<std::string> actions = split(scope.substr(scope.rfind(':') + 1), ',');
  std::sort(actions.begin(), actions.end());
  return actions;
}

// Whether having `had` is enough for `wanted`.
bool covers(std::string_view had, std::string_view wanted) {
  const size_t a = had.rfind(':'), b = wanted.rfind(':');
  if (a == std::string_view::npos || b == std::string_view::npos) return had == wanted;
  if (had.substr(0, a) != wanted.substr(0, b)) return false;
  const std::vector<std::string> have = sorted_actions(had), need = sorted_actions(wanted);
  return std::includes(have.begin(), have.end(), need.begin(), need.end()) ||
         std::binary_search(have.begin(), have.end(), "*");
}

}  // namespace

std::string repository_scope(std::string_view repository, std::string_view actions) {
  return fmt::format("repository:{}:{}", repository, actions);
}

std::vector<std::string> grown_scopes(const std::vector<std::string>& had, std::string_view wanted) {
  std::vector<std::string> grown;
  for (const std::string& scope : split_words(wanted)) {
    const bool is_had =
        std::any_of(had.begin(), had.end(), [&](const std::string& old) { return covers(old, scope); });
    if (!is_had && grown.size() < 16) grown.push_back(scope);
  }
  if (grown.empty()) return {};
  grown.insert(grown.end(), had.begin(), had.end());
  return grown;
}

// What is known of one host.
struct Access::Host {
  std::mutex contact;  // held while its scheme is found out
  std::mutex mutex;    // for all below
  std::string scheme;  // "" until it is decided
  std::optional<Challenge> challenge;
  std::map<std::vector<std::string>, std::vector<std::string>> grown;  // by the scopes that were asked for

  std::string decided_scheme() {
    std::lock_guard lock(mutex);
    return scheme;
  }
};

// One token, or the place where it will be.
struct TokenSlot {
  std::mutex mutex;  // held while it is fetched: who needs it too waits here
  std::atomic<uint64_t> tries = 0;
  std::exception_ptr failure;  // of the last try
  std::string value;
  int64_t good_until_ns = 0;
};

struct Access::Shared {
  Options options;
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<Host>> hosts;
  std::map<std::pair<http::TlsOptions, std::string>, std::unique_ptr<http::Client>> clients;
  std::map<std::vector<std::string>, std::shared_ptr<TokenSlot>> tokens;
  std::string refresh_token;

  int64_t now_ns() const { return options.clock ? options.clock->now_ns() : SystemClock().now_ns(); }

  std::shared_ptr<TokenSlot> slot_of(const std::vector<std::string>& key) {
    std::lock_guard lock(mutex);
    // Who lives long and asks for many repositories forgets those that nobody uses now.
    if (tokens.size() >= kMaxTokens)
      std::erase_if(tokens, [](const auto& entry) { return entry.second.use_count() == 1; });
    auto& slot = tokens[key];
    if (!slot) slot = std::make_shared<TokenSlot>();
    return slot;
  }

  // `refused`: a token that the registry did not take. Second: whether it was fetched now.
  std::pair<std::string, bool> token(http::Client& client, const TokenRequest& request,
                                     const std::string& refused) {
    std::vector<std::string> key = {request.registry, request.realm, request.service,
                                    request.credential.source, request.credential.user};
    key.insert(key.end(), request.scopes.begin(), request.scopes.end());
    const std::shared_ptr<TokenSlot> slot = slot_of(key);
    const uint64_t tries = slot->tries;
    std::lock_guard lock(slot->mutex);
    if (!slot->value.empty() && slot->value != refused && now_ns() < slot->good_until_ns)
      return {slot->value, false};
    if (slot->tries != tries && slot->failure) std::rethrow_exception(slot->failure);
    try {
      slot->failure = nullptr;
      slot->tries++;
      const int64_t began = now_ns();
      Token token = fetch_token(client, request, began / kSecond, options.retry, options.http.cancellation);
      slot->value = std::move(token.value);
      if (!token.refresh_token.empty()) {
        std::lock_guard all(mutex);
        refresh_token = std::move(token.refresh_token);
      }
      const int64_t margin_s = std::min<int64_t>(10, token.lasts_s / 4);
      slot->good_until_ns = began + (token.lasts_s - margin_s) * kSecond;
    } catch (...) {
      slot->value.clear();
      slot->failure = std::current_exception();
      throw;
    }
    return {slot->value, true};
  }
};

Access::Access(Options options) : shared_(std::make_unique<Shared>()) {
  shared_->options = std::move(options);
  // A registry of this machine is never behind a proxy, whatever the variables say.
  std::string& direct = shared_->options.http.proxies.none;
  direct += (direct.empty() ? "" : ",") + std::string("localhost,127.0.0.0/8,::1");
}
Access::~Access() = default;

std::shared_ptr<Access::Host> Access::host_of(const Endpoint& endpoint) const {
  std::lock_guard lock(shared_->mutex);
  auto& host = shared_->hosts[endpoint.scheme + "://" + endpoint.authority];
  if (!host) host = std::make_shared<Host>();
  return host;
}

// Servers with TLS of their own have a client of their own: connections that were made without looking at a
// certificate must not be used by who wants to look. Where else such a client is led (redirects, the token
// server), the registry's authorities count too, its client certificate is not shown, and certificates are
// looked at, but for other ports of that host.
http::Client& Access::client_for(const Endpoint& endpoint) const {
  const http::Url own = http::parse_url("https://" + endpoint.authority);
  const std::string name = endpoint.tls == http::TlsOptions() ? "" : own.authority();
  std::lock_guard lock(shared_->mutex);
  auto& client = shared_->clients[{endpoint.tls, name}];
  if (client) return *client;
  http::ClientOptions options = shared_->options.http;
  if (!name.empty())
    options.tls = [tls = endpoint.tls, own](const std::string& authority) {
      if (authority == own.authority()) return tls;
      http::TlsOptions other = tls;
      other.certificate.clear();
      other.key.clear();
      other.is_verified = tls.is_verified || http::parse_url("https://" + authority).host != own.host;
      return other;
    };
  client = std::make_unique<http::Client>(std::move(options));
  return *client;
}

// Which of the two schemes is spoken there? The request itself is the trial, as long as it has no body, and
// it carries no credentials.
http::Response Access::first_contact(Host& host, const Endpoint& endpoint, const http::Request& request,
                                     bool is_ping) const {
  http::Client& client = client_for(endpoint);
  std::optional<Error> failure;
  for (const std::string& scheme :
       {endpoint.scheme, std::string(endpoint.scheme == "http" ? "https" : "http")}) {
    const std::string base = scheme + "://" + endpoint.authority + endpoint.prefix;
    http::Request asked = request, ping{.url = base + "/", .any_status = true};
    asked.url = base + request.url;
    try {
      http::Response response = open_at(client, is_ping ? ping : asked, endpoint);
      if (scheme == "http" && response.status == 400) {
        http::Response words = client.open(ping);
        std::string text(4096, '\0');
        text.resize(words.body->read(text.data(), text.size()));
        if (text.find("HTTPS") != std::string::npos || text.find("SSL") != std::string::npos)
          fail(ErrorCode::kIo, "{}: it speaks TLS alone", base);
      }
      std::lock_guard lock(host.mutex);
      host.scheme = scheme;
      return response;
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kCancelled) throw;
      if (failure) throw Error(failure->code(), fmt::format("{}; {}", failure->what(), error.what()));
      failure.emplace(error);
    }
  }
  fail(ErrorCode::kInternal, "no scheme was tried");
}

std::string Access::refresh_token() const {
  std::lock_guard lock(shared_->mutex);
  return shared_->refresh_token;
}

std::string Access::resolve_location(const Endpoint& endpoint, const http::Response& answer) const {
  const std::string location = answer.field("Location");
  if (location.empty()) fail(ErrorCode::kFailed, "{}: its answer has no Location", answer.url);
  http::Url url = http::resolve_url(http::parse_url(answer.url), location);
  const std::string scheme = host_of(endpoint)->decided_scheme();
  keep_scheme(url, http::parse_url((scheme.empty() ? endpoint.scheme : scheme) + "://" + endpoint.authority));
  return url.shown();
}

// One request on its way.
struct Access::Try {
  Shared& shared;
  Host& host;
  http::Client& client;
  const Endpoint& endpoint;  // with the scheme that it has
  const std::vector<std::string>& asked_scopes;
  Credential credential;

  std::string refused;     // the token that was sent last and not taken
  std::string sent_token;  // of the last round
  bool was_fresh = false;  // that token was fetched for this request
  bool sent_basic = false;

  std::vector<std::string> scopes() {
    std::lock_guard lock(host.mutex);
    auto grown = host.grown.find(asked_scopes);
    return grown == host.grown.end() ? asked_scopes : grown->second;
  }

  // The value of Authorization, or "".
  std::string authorization() {
    sent_token.clear();
    sent_basic = was_fresh = false;
    std::optional<Challenge> challenge;
    {
      std::lock_guard lock(host.mutex);
      challenge = host.challenge;
    }
    if (!challenge) return "";
    if (challenge->scheme == "basic") {
      if (credential.password.empty()) return "";
      sent_basic = true;
      return "Basic " + base64_encode(credential.user + ":" + credential.password);
    }
    if (!credential.registry_token.empty()) {
      was_fresh = true;
      sent_token = credential.registry_token;
    } else {
      const TokenRequest request{.realm = challenge->parameter("realm"),
                                 .service = challenge->parameter("service"),
                                 .scopes = scopes(),
                                 .credential = credential,
                                 .registry = endpoint.authority,
                                 .is_insecure = endpoint.scheme == "http" || !endpoint.tls.is_verified,
                                 .wants_refresh_token = shared.options.wants_refresh_token};
      std::tie(sent_token, was_fresh) = shared.token(client, request, refused);
    }
    return "Bearer " + sent_token;
  }

  // Whether another round can do better than this 401.
  bool can_mend(const http::Response& response) {
    const std::optional<Challenge> challenge = answerable(response);
    if (!challenge) return false;
    if (challenge->scheme == "basic") {
      std::lock_guard lock(host.mutex);
      host.challenge = challenge;
      return !sent_basic && !credential.password.empty();
    }
    const std::vector<std::string> grown = grown_scopes(scopes(), challenge->parameter("scope"));
    std::lock_guard lock(host.mutex);
    const bool is_other = !host.challenge || host.challenge->scheme != "bearer" ||
                          host.challenge->parameter("realm") != challenge->parameter("realm") ||
                          host.challenge->parameter("service") != challenge->parameter("service");
    host.challenge = challenge;
    if (!grown.empty()) host.grown[asked_scopes] = grown;
    if (sent_token.empty() || is_other) return true;
    refused = sent_token;
    return !was_fresh || (!grown.empty() && credential.registry_token.empty());
  }
};

http::Response Access::send(const Endpoint& endpoint, http::Request request,
                            const std::vector<std::string>& scopes) {
  if (request.method != "HEAD") return send_once(endpoint, std::move(request), scopes);
  http::Response response = send_once(endpoint, request, scopes);
  if (response.status != 405 && response.status != 501) return response;
  request.method = "GET";
  response = send_once(endpoint, std::move(request), scopes);
  class Nothing : public archive::ByteSource {
    size_t read(void*, size_t) override { return 0; }
  };
  response.body = std::make_unique<Nothing>();  // what was not asked for is not waited for
  return response;
}

http::Response Access::send_once(const Endpoint& asked_endpoint, http::Request request,
                                 const std::vector<std::string>& scopes) {
  Endpoint endpoint = asked_endpoint;
  const std::shared_ptr<Host> host = host_of(endpoint);
  http::Client& client = client_for(endpoint);
  request.any_status = true;
  for (const auto& field : endpoint.fields) request.own_fields.push_back(field);
  for (const auto& field : shared_->options.credentials.request_fields()) request.own_fields.push_back(field);
  const bool is_path = request.url.starts_with('/');
  if (is_path && endpoint.adds_namespace && (request.method == "GET" || request.method == "HEAD"))
    request.url += (request.url.find('?') == std::string::npos ? "?ns=" : "&ns=") +
                   http::percent_encode(endpoint.registry);

  const bool needs_ping = !is_path || (request.body && request.body->size > 0);
  std::optional<http::Response> response;
  {
    std::lock_guard contact(host->contact);
    if (endpoint.may_be_either_scheme && host->decided_scheme().empty())
      response = first_contact(*host, endpoint, request, needs_ping);
  }
  if (endpoint.may_be_either_scheme) endpoint.scheme = host->decided_scheme();
  const http::Url own = http::parse_url(endpoint.scheme + "://" + endpoint.authority);
  if (is_path) {
    request.url = endpoint.base() + request.url;
  } else {
    http::Url url = http::parse_url(request.url);
    keep_scheme(url, own);
    request.url = url.shown();
    if (!is_own(url, own)) {
      if (url.is_file() || (url.scheme == "http" && endpoint.scheme == "https"))
        fail(ErrorCode::kPermission, "{} leads to {}, which is not encrypted", endpoint.authority,
             url.shown());
      request.own_fields.clear();
      return client.open(request);
    }
  }

  Try attempt{*shared_, *host, client, endpoint, scopes, {}};
  attempt.credential = shared_->options.credentials.find(endpoint.authority, repository_of(scopes));
  const http::Fields fields = request.own_fields;
  if (response && needs_ping) {
    if (response->status == 401) attempt.can_mend(*response);  // what it wants is known then
    drain_some(*response);
    response.reset();
  }
  for (int round = 0;; round++) {
    if (!response) {
      request.own_fields = fields;
      std::string authorization;
      try {
        authorization = attempt.authorization();
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kPermission || !error.hint().empty()) throw;
        throw refusal(endpoint, 0, error.what(), scopes);
      }
      if (!authorization.empty()) request.own_fields.emplace_back("Authorization", std::move(authorization));
      response = open_at(client, request, endpoint);
    }
    // What a redirect led to has no say in who gets our credentials.
    if (response->status != 401 || round == kMaxRounds || !is_own(http::parse_url(response->url), own) ||
        !attempt.can_mend(*response))
      return std::move(*response);
    drain_some(*response);
    response.reset();
  }
}

Error Access::refusal(const Endpoint& endpoint, unsigned status, std::string_view text,
                      const std::vector<std::string>& scopes) const {
  const std::string host = endpoint.authority == "registry-1.docker.io" ? "docker.io" : endpoint.authority;
  const Credential credential = shared_->options.credentials.find(endpoint.authority, repository_of(scopes));
  std::string what = "registry " + host + " refused";
  if (status != 0) what += fmt::format(" ({})", status);
  if (!scopes.empty()) {
    const std::string& scope = scopes.front();
    const std::string repository = repository_of(scopes);
    what += repository.empty() ? " " + scope
                               : fmt::format(" {} of {}", scope.substr(scope.rfind(':') + 1), repository);
  }
  if (!text.empty()) what += ": " + std::string(text);
  const std::string login = host == "docker.io" ? "corten login" : "corten login " + host;
  if (!credential.is_anonymous()) {
    what += credential.user.empty()
                ? fmt::format(" (with the token from {})", credential.source)
                : fmt::format(" (as user {} from {})", quote(credential.user), credential.source);
    return Error(ErrorCode::kPermission, what)
        .with_hint("check the name and what this user may do, or log in as another: " + login);
  }
  const std::vector<std::string> notes = shared_->options.credentials.search_notes(endpoint.authority);
  what += notes.empty() ? " (without credentials)" : " (without credentials; " + join(notes, "; ") + ")";
  return Error(ErrorCode::kPermission, what).with_hint("check the name; what is private needs: " + login);
}

}  // namespace corten::registry
