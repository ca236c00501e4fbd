#include "registry/server/web_token.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <fmt/core.h>

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/unique_fd.h"

namespace corten::registry::serving {

namespace {

constexpr size_t kMaxToken = 16 << 10;
constexpr size_t kMaxKeys = 16;
constexpr int64_t kLeewayS = 60;

template <typename T, void (*release)(T*)>
struct Release {
  void operator()(T* value) const { release(value); }
};
using Key = std::unique_ptr<EVP_PKEY, Release<EVP_PKEY, EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Release<X509, X509_free>>;
using Context = std::unique_ptr<EVP_MD_CTX, Release<EVP_MD_CTX, EVP_MD_CTX_free>>;
using Signature = std::unique_ptr<ECDSA_SIG, Release<ECDSA_SIG, ECDSA_SIG_free>>;

[[noreturn]] void refuse_token(std::string_view why) {
  fail(ErrorCode::kPermission, "{}", why);
}

// RFC 7515, appendix C.
std::string decode_part(std::string_view text) {
  std::string padded(text);
  for (char& c : padded) c = c == '-' ? '+' : c == '_' ? '/' : c;
  padded.append((4 - padded.size() % 4) % 4, '=');
  std::optional<std::string> bytes = base64_decode(padded);
  if (!bytes) refuse_token("the token is malformed");
  return std::move(*bytes);
}

// RFC 7518 section 3: the digest of an algorithm, and the kind of key that it goes with.
struct Scheme {
  const EVP_MD* digest;
  int key;
  size_t half;  // of an ECDSA signature
};
std::optional<Scheme> scheme_of(std::string_view algorithm) {
  if (algorithm == "RS256") return Scheme{EVP_sha256(), EVP_PKEY_RSA, 0};
  if (algorithm == "RS384") return Scheme{EVP_sha384(), EVP_PKEY_RSA, 0};
  if (algorithm == "RS512") return Scheme{EVP_sha512(), EVP_PKEY_RSA, 0};
  if (algorithm == "ES256") return Scheme{EVP_sha256(), EVP_PKEY_EC, 32};
  if (algorithm == "ES384") return Scheme{EVP_sha384(), EVP_PKEY_EC, 48};
  if (algorithm == "ES512") return Scheme{EVP_sha512(), EVP_PKEY_EC, 66};
  if (algorithm == "EdDSA") return Scheme{nullptr, EVP_PKEY_ED25519, 0};
  return std::nullopt;
}

// RFC 7518 section 3.4: r and s beside each other; the library wants them in DER.
std::string to_der(const std::string& raw, size_t half) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(raw.data());
  const Signature signature(ECDSA_SIG_new());
  if (raw.size() != 2 * half || !signature) return {};
  BIGNUM* r = BN_bin2bn(bytes, static_cast<int>(half), nullptr);
  BIGNUM* s = BN_bin2bn(bytes + half, static_cast<int>(half), nullptr);
  if (ECDSA_SIG_set0(signature.get(), r, s) != 1) return {};
  unsigned char* out = nullptr;
  const int size = i2d_ECDSA_SIG(signature.get(), &out);
  if (size <= 0) return {};
  std::string der(reinterpret_cast<char*>(out), static_cast<size_t>(size));
  OPENSSL_free(out);
  return der;
}

bool is_signed_by(EVP_PKEY* key, const Scheme& scheme, std::string_view text, const std::string& raw) {
  if (EVP_PKEY_base_id(key) != scheme.key) return false;
  if (scheme.half != 0 && static_cast<size_t>(EVP_PKEY_bits(key) + 7) / 8 != scheme.half) return false;
  const std::string signature = scheme.half == 0 ? raw : to_der(raw, scheme.half);
  const Context context(EVP_MD_CTX_new());
  const auto bytes = [](std::string_view view) {
    return reinterpret_cast<const unsigned char*>(view.data());
  };
  const bool is_good =
      context && EVP_DigestVerifyInit(context.get(), nullptr, scheme.digest, nullptr, key) == 1 &&
      EVP_DigestVerify(context.get(), bytes(signature), signature.size(), bytes(text), text.size()) == 1;
  ERR_clear_error();
  return is_good;
}

std::vector<Key> read_keys(const std::string& file) {
  const std::string text = read_file(file, 1 << 20);
  std::vector<Key> keys;
  const std::unique_ptr<BIO, decltype(&BIO_free)> in(
      BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
  char *name = nullptr, *header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  while (keys.size() < kMaxKeys && PEM_read_bio(in.get(), &name, &header, &data, &size) == 1) {
    const unsigned char* at = data;
    const std::string_view kind = name;
    if (kind == "PUBLIC KEY") {
      keys.emplace_back(d2i_PUBKEY(nullptr, &at, size));
    } else if (kind == "CERTIFICATE") {
      const Certificate certificate(d2i_X509(nullptr, &at, size));
      keys.emplace_back(certificate ? X509_get_pubkey(certificate.get()) : nullptr);
    }
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(data);
    if (!keys.empty() && !keys.back()) fail(ErrorCode::kInvalid, "{}: a key in it is damaged", file);
  }
  ERR_clear_error();
  if (keys.empty())
    throw Error(ErrorCode::kInvalid, fmt::format("{}: no public key and no certificate in it", file))
        .with_hint("PEM, as 'openssl pkey -pubout' writes it");
  return keys;
}

void check_claims(const Json& claims, const WebTokenOptions& options, int64_t now_s) {
  if (!options.issuer.empty() && claims.get_string("iss") != options.issuer)
    refuse_token("the token is of another issuer");
  const Json* audience = claims.find("aud");
  const bool is_for_us =
      audience && (audience->is_string()
                       ? audience->as_string() == options.service
                       : std::any_of(audience->as_array().begin(), audience->as_array().end(),
                                     [&](const Json& one) { return one.as_string() == options.service; }));
  if (!is_for_us) refuse_token("the token is for another service");
  if (claims.get_int("exp", 0) <= now_s - kLeewayS) refuse_token("the token has expired");
  if (claims.get_int("nbf", 0) > now_s + kLeewayS) refuse_token("the token is not valid yet");
}

}  // namespace

struct WebTokenVerifier::Keys {
  std::vector<Key> all;
};

WebTokenVerifier::WebTokenVerifier(WebTokenOptions options)
    : options_(std::move(options)), keys_(std::make_unique<Keys>(Keys{read_keys(options_.key_file)})) {}
WebTokenVerifier::~WebTokenVerifier() = default;

WebToken WebTokenVerifier::verify(std::string_view token, int64_t now_s) const {
  if (token.size() > kMaxToken) refuse_token("the token is too long");
  const size_t first = token.find('.'), last = token.rfind('.');
  if (first == std::string_view::npos || first == last) refuse_token("the token is malformed");
  try {
    const Json header = Json::parse(decode_part(token.substr(0, first)), kMaxToken);
    const std::optional<Scheme> scheme = scheme_of(header.get_string("alg"));
    if (!scheme) refuse_token("the token is signed in a way that is not known here");
    const std::string signature = decode_part(token.substr(last + 1));
    const std::string_view text = token.substr(0, last);
    if (std::none_of(keys_->all.begin(), keys_->all.end(),
                     [&](const Key& key) { return is_signed_by(key.get(), *scheme, text, signature); }))
      refuse_token("the token's signature is not that of the token server");
    const Json claims = Json::parse(decode_part(token.substr(first + 1, last - first - 1)), kMaxToken);
    check_claims(claims, options_, now_s);
    WebToken read{claims.get_string("sub"), {}};
    if (const Json* access = claims.find("access"))
      for (const Json& entry : access->as_array())
        read.grants.push_back(
            {entry.get_string("type"), entry.get_string("name"), entry.get_strings("actions")});
    return read;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInvalid) refuse_token("the token is malformed");
    throw;
  }
}

}  // namespace corten::registry::serving
