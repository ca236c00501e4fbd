// How a request to a registry gets through: challenges, tokens, credentials.
//
// The first request to a host goes without credentials. A 401 says what the host wants (challenge.h): Basic,
// or a token of a token server (token_server.h) for scopes. From then on requests carry it at once. A token
// is kept for (host, credential, scopes) until it expires, less a margin; threads that need the same one wait
// for one fetch. A 401 in spite of a token means that it expired, was revoked, or that more scopes are wanted
// (put first, the old ones kept): it is renewed once, also in the middle of a push, and the request is sent
// again from its start.
//
// A credential goes to the host that it belongs to and to the token server that this host names, as far as
// check_realm() lets it; never to where a Location or a redirect leads.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "http/client.h"
#include "registry/credentials.h"
#include "registry/hosts.h"
#include "registry/retry.h"

namespace corten::registry {

// Thread-safe.
class Access {
 public:
  struct Options {
    http::ClientOptions http;  // its `tls` is ours to set
    Credentials credentials;
    std::shared_ptr<const Clock> clock = {};  // unset: the system's
    bool wants_refresh_token = false;         // of a login; see refresh_token()
    RetryRules retry = {};                    // how long a token server's Retry-After is obeyed
  };
  explicit Access(Options options);
  ~Access();

  // `request.url` is a path behind endpoint.prefix ("/library/ubuntu/manifests/latest"), or an absolute
  // address: a Location of an earlier answer (resolve_location()). Every status but a 401 that a token mends
  // is an answer; a HEAD that the server does not know (405, 501) is asked by GET. `scopes`:
  // "repository:team/app:pull,push", the first one first. Errors as of http::Client; kPermission also where
  // no token is to be had (with the text of refusal()).
  http::Response send(const Endpoint& endpoint, http::Request request,
                      const std::vector<std::string>& scopes);

  // What to throw for a 401 or 403 (`text`: error_text() of its body): host, scope, whose credentials were
  // used (never the secret), the registry's words, and what to run.
  Error refusal(const Endpoint& endpoint, unsigned status, std::string_view text,
                const std::vector<std::string>& scopes) const;

  // What a token server gave for later in place of the password, or "".
  std::string refresh_token() const;

  // The address that a Location of an answer means; the endpoint's own host keeps its scheme (registries
  // behind a proxy say http:// for https://).
  std::string resolve_location(const Endpoint& endpoint, const http::Response& answer) const;

 private:
  struct Host;
  struct Shared;
  struct Try;
  std::shared_ptr<Host> host_of(const Endpoint& endpoint) const;
  http::Client& client_for(const Endpoint& endpoint) const;
  http::Response send_once(const Endpoint& endpoint, http::Request request,
                           const std::vector<std::string>& scopes);
  http::Response first_contact(Host& host, const Endpoint& endpoint, const http::Request& request,
                               bool is_ping) const;
  std::unique_ptr<Shared> shared_;
};

// "repository:team/app:pull,push".
std::string repository_scope(std::string_view repository, std::string_view actions);
// The scopes to ask for once a challenge wanted others: what is new goes first, the old ones stay. Empty when
// the challenge wants nothing new.
std::vector<std::string> grown_scopes(const std::vector<std::string>& had, std::string_view wanted);

}  // namespace corten::registry
