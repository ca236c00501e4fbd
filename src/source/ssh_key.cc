#include "source/ssh_key.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"

namespace corten::source {

namespace {

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* value) const {
    Free(value);
  }
};
using PkeyPtr = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using ContextPtr = std::unique_ptr<EVP_PKEY_CTX, Freer<EVP_PKEY_CTX_free>>;
using BuilderPtr = std::unique_ptr<OSSL_PARAM_BLD, Freer<OSSL_PARAM_BLD_free>>;
using ParamsPtr = std::unique_ptr<OSSL_PARAM, Freer<OSSL_PARAM_free>>;
using NumberPtr = std::unique_ptr<BIGNUM, Freer<BN_clear_free>>;
using DigestPtr = std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>>;
using BioPtr = std::unique_ptr<BIO, Freer<BIO_free>>;
using SignaturePtr = std::unique_ptr<ECDSA_SIG, Freer<ECDSA_SIG_free>>;

struct Curve {
  const char* ssh;      // in the names of RFC 5656
  const char* openssl;  // as OpenSSL calls it
  const EVP_MD* (*hash)();
};
constexpr Curve kCurves[] = {{"nistp256", "prime256v1", EVP_sha256},
                             {"nistp384", "secp384r1", EVP_sha384},
                             {"nistp521", "secp521r1", EVP_sha512}};

const unsigned char* bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

NumberPtr number(std::string_view big_endian) {
  NumberPtr value(BN_bin2bn(bytes(big_endian), static_cast<int>(big_endian.size()), nullptr));
  if (!value) throw std::bad_alloc();
  return value;
}

// mpint: no leading zeros but one that keeps the number positive.
std::string mpint(const BIGNUM* value) {
  std::string out(static_cast<size_t>(BN_num_bytes(value)), '\0');
  BN_bn2bin(value, reinterpret_cast<unsigned char*>(out.data()));
  if (!out.empty() && (out[0] & 0x80)) out.insert(out.begin(), '\0');
  return ssh_string(out);
}

PkeyPtr from_params(const char* kind, OSSL_PARAM_BLD* builder) {
  ParamsPtr params(OSSL_PARAM_BLD_to_param(builder));
  ContextPtr context(EVP_PKEY_CTX_new_from_name(nullptr, kind, nullptr));
  EVP_PKEY* key = nullptr;
  if (!params || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_KEYPAIR, params.get()) != 1)
    fail(ErrorCode::kInvalid, "its numbers make no key");
  return PkeyPtr(key);
}

PkeyPtr rsa_key(SshReader& in) {
  NumberPtr n = number(in.string()), e = number(in.string()), d = number(in.string());
  in.string(), in.string(), in.string();  // iqmp, p, q
  BuilderPtr builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_D, d.get());
  return from_params("RSA", builder.get());
}

PkeyPtr ecdsa_key(SshReader& in) {
  std::string_view name = in.string(), point = in.string();
  NumberPtr d = number(in.string());
  for (const Curve& curve : kCurves) {
    if (name != curve.ssh) continue;
    BuilderPtr builder(OSSL_PARAM_BLD_new());
    OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, curve.openssl, 0);
    OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size());
    OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_PRIV_KEY, d.get());
    return from_params("EC", builder.get());
  }
  fail(ErrorCode::kUnsupported, "curve {} is not known", quote(name));
}

PkeyPtr ed25519_key(SshReader& in) {
  in.string();  // the public half
  std::string_view both = in.string();
  if (both.size() != 64) fail(ErrorCode::kInvalid, "an Ed25519 key of {} bytes", both.size());
  PkeyPtr key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, bytes(both), 32));
  if (!key) fail(ErrorCode::kInvalid, "its numbers make no key");
  return key;
}

int no_passphrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

[[noreturn]] void has_passphrase() {
  throw Error(ErrorCode::kUnsupported, "the key has a passphrase")
      .with_hint("add it to an agent (ssh-add) and forward that: --ssh default");
}

// The public half of a key that came as PEM, and its kind.
std::pair<std::string, std::string> public_half(const EVP_PKEY* key) {
  if (EVP_PKEY_is_a(key, "RSA")) {
    BIGNUM *n = nullptr, *e = nullptr;
    EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n);
    EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e);
    NumberPtr modulus(n), exponent(e);
    return {"ssh-rsa", ssh_string("ssh-rsa") + mpint(e) + mpint(n)};
  }
  if (EVP_PKEY_is_a(key, "ED25519")) {
    std::string point(32, '\0');
    size_t size = point.size();
    EVP_PKEY_get_raw_public_key(key, reinterpret_cast<unsigned char*>(point.data()), &size);
    return {"ssh-ed25519", ssh_string("ssh-ed25519") + ssh_string(point)};
  }
  if (EVP_PKEY_is_a(key, "EC")) {
    char group[64];
    size_t size = 0;
    std::string point(256, '\0');
    EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group, nullptr);
    EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY,
                                    reinterpret_cast<unsigned char*>(point.data()), point.size(), &size);
    point.resize(size);
    for (const Curve& curve : kCurves)
      if (std::string_view(group) == curve.openssl) {
        std::string kind = fmt::format("ecdsa-sha2-{}", curve.ssh);
        return {kind, ssh_string(kind) + ssh_string(curve.ssh) + ssh_string(point)};
      }
  }
  fail(ErrorCode::kUnsupported, "keys of this kind are not known (RSA, ECDSA, Ed25519 are)");
}

}  // namespace

std::string ssh_number(uint32_t value) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift);
  return out;
}

std::string ssh_string(std::string_view text) {
  return ssh_number(static_cast<uint32_t>(text.size())) + std::string(text);
}

std::string_view SshReader::take(size_t size) {
  if (size > bytes_.size()) fail(ErrorCode::kInvalid, "it ends too early");
  std::string_view taken = bytes_.substr(0, size);
  bytes_.remove_prefix(size);
  return taken;
}
uint8_t SshReader::byte() {
  return static_cast<uint8_t>(take(1)[0]);
}
uint32_t SshReader::number() {
  uint32_t value = 0;
  for (char c : take(4)) value = value << 8 | static_cast<uint8_t>(c);
  return value;
}
std::string_view SshReader::string() {
  return take(number());
}

struct SshKey::Secret {
  PkeyPtr key;
};

SshKey::SshKey() : secret_(std::make_unique<Secret>()) {}
SshKey::SshKey(SshKey&&) noexcept = default;
SshKey::~SshKey() = default;

SshKey SshKey::parse(std::string_view text, const std::string& name) {
  constexpr std::string_view kBegin = "-----BEGIN OPENSSH PRIVATE KEY-----";
  constexpr std::string_view kEnd = "-----END OPENSSH PRIVATE KEY-----";
  SshKey made;
  made.comment_ = name;
  try {
    size_t begin = text.find(kBegin), end = text.find(kEnd);
    if (begin == std::string_view::npos) {
      BioPtr bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
      bool asked = false;
      made.secret_->key.reset(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, &asked));
      if (asked) has_passphrase();
      if (!made.secret_->key) fail(ErrorCode::kInvalid, "it is no private key");
      std::tie(made.kind_, made.public_blob_) = public_half(made.secret_->key.get());
      return made;
    }
    if (end == std::string_view::npos || end < begin) fail(ErrorCode::kInvalid, "its end is missing");
    std::string armour;
    for (char c : text.substr(begin + kBegin.size(), end - begin - kBegin.size()))
      if (static_cast<unsigned char>(c) > ' ') armour += c;
    auto raw = base64_decode(armour);
    constexpr std::string_view kMagic("openssh-key-v1\0", 15);
    if (!raw || !raw->starts_with(kMagic)) fail(ErrorCode::kInvalid, "it is no private key");
    SshReader in(std::string_view(*raw).substr(kMagic.size()));
    if (in.string() != "none") has_passphrase();
    in.string(), in.string();  // how the passphrase is stretched
    if (in.number() != 1) fail(ErrorCode::kUnsupported, "it holds several keys");
    made.public_blob_ = in.string();
    SshReader inner(in.string());
    if (inner.number() != inner.number()) fail(ErrorCode::kInvalid, "its check numbers differ");
    made.kind_ = inner.string();
    if (SshReader(made.public_blob_).string() != made.kind_)
      fail(ErrorCode::kInvalid, "its two halves are of different kinds");
    if (made.kind_ == "ssh-rsa")
      made.secret_->key = rsa_key(inner);
    else if (made.kind_ == "ssh-ed25519")
      made.secret_->key = ed25519_key(inner);
    else if (made.kind_.starts_with("ecdsa-sha2-"))
      made.secret_->key = ecdsa_key(inner);
    else
      fail(ErrorCode::kUnsupported, "keys of kind {} are not known (RSA, ECDSA, Ed25519 are)",
           quote(made.kind_));
    if (std::string_view comment = inner.string(); !comment.empty()) made.comment_ = comment;
    OPENSSL_cleanse(raw->data(), raw->size());
    return made;
  } catch (Error& error) {
    error.add_context("ssh key " + name);
    throw;
  }
}

std::string SshKey::sign(std::string_view data, uint32_t flags) const {
  std::string algorithm = kind_;
  const EVP_MD* hash = nullptr;  // Ed25519 hashes by itself
  if (kind_ == "ssh-rsa") {
    algorithm = flags & 4 ? "rsa-sha2-512" : flags & 2 ? "rsa-sha2-256" : "ssh-rsa";
    hash = flags & 4 ? EVP_sha512() : flags & 2 ? EVP_sha256() : EVP_sha1();
  }
  for (const Curve& curve : kCurves)
    if (kind_ == fmt::format("ecdsa-sha2-{}", curve.ssh)) hash = curve.hash();
  DigestPtr context(EVP_MD_CTX_new());
  size_t size = 0;
  if (EVP_DigestSignInit(context.get(), nullptr, hash, nullptr, secret_->key.get()) != 1 ||
      EVP_DigestSign(context.get(), nullptr, &size, bytes(data), data.size()) != 1)
    fail(ErrorCode::kFailed, "ssh key {}: it does not sign", comment_);
  std::string raw(size, '\0');
  if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(raw.data()), &size, bytes(data),
                     data.size()) != 1)
    fail(ErrorCode::kFailed, "ssh key {}: it does not sign", comment_);
  raw.resize(size);
  if (kind_.starts_with("ecdsa-")) {
    const unsigned char* at = bytes(raw);
    SignaturePtr pair(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(raw.size())));
    if (!pair) fail(ErrorCode::kInternal, "a signature that cannot be read");
    raw = mpint(ECDSA_SIG_get0_r(pair.get())) + mpint(ECDSA_SIG_get0_s(pair.get()));
  }
  return ssh_string(algorithm) + ssh_string(raw);
}

}  // namespace corten::source
