// JSON web tokens (RFC 7519) as registries take them (distribution, "Token Authentication Implementation"):
// signed by a token server whose public key is known here.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "registry/server/grants.h"

namespace corten::registry::serving {

struct WebTokenOptions {
  std::string key_file;  // PEM: public keys or certificates, one or more
  std::string service;   // must be among the token's audience
  std::string issuer;    // must be the token's; "" is any
};

struct WebToken {
  std::string subject;
  std::vector<Grant> grants;
};

// Thread-safe.
class WebTokenVerifier {
 public:
  // Error(kInvalid) for a file that holds no key.
  explicit WebTokenVerifier(WebTokenOptions options);
  ~WebTokenVerifier();
  // Error(kPermission), in words for the client, for a token that is malformed, expired, for somebody else,
  // or signed by another key. RS256, RS384, RS512, ES256, ES384, ES512 and EdDSA, as it fits the key.
  WebToken verify(std::string_view token, int64_t now_s) const;

 private:
  struct Keys;
  const WebTokenOptions options_;
  std::unique_ptr<Keys> keys_;
};

}  // namespace corten::registry::serving
