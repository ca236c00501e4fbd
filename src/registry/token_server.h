// Fetches bearer tokens (distribution: docs/content/spec/auth/token.md and oauth.md).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "http/client.h"
#include "registry/credentials.h"
#include "registry/retry.h"

namespace corten::registry {

struct TokenRequest {
  std::string realm, service;       // of the challenge
  std::vector<std::string> scopes;  // in this order: some servers read only the first
  Credential credential;
  std::string registry;      // "host:port" that sent the challenge
  bool is_insecure = false;  // the registry is spoken to without TLS, or without looking at its certificate
  bool wants_refresh_token = false;  // login
};

struct Token {
  std::string value;
  int64_t lasts_s = 60;       // from when it was fetched
  std::string refresh_token;  // when it was wanted and the server gives such
};

// The realm comes from a server that need not be trusted, and is told who we are. Error(kPermission) unless
// it is https (http for an insecure registry), and when it names this machine or a private network by number
// ("127.0.0.1", "169.254.169.254", "localhost") and is not the registry's own host.
void check_realm(const std::string& realm, const TokenRequest& request);

// A user's password goes by GET, an identity token by POST, and by GET where the server knows no POST (404,
// 405). Answers are bounded (1 MiB, not compressed), redirects of GET checked as the realm is; none leads a
// credential to another host. Error(kPermission) for 400, 401, 403 with the server's own words, kIo for what
// may pass; where such an answer has a Retry-After, it is obeyed within the rules first. `now_s`: the wall
// clock, for issued_at.
Token fetch_token(http::Client& client, const TokenRequest& request, int64_t now_s,
                  const RetryRules& retry = {}, const Cancellation& cancellation = {});

}  // namespace corten::registry
