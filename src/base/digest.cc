#include "base/digest.h"

#include <openssl/evp.h>

#include "base/error.h"
#include "base/strings.h"

namespace corten {

namespace {
int nibble(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

std::optional<Digest> parse_hex(std::string_view hex) {
  if (hex.size() != 64) return std::nullopt;
  std::array<uint8_t, 32> bytes;
  for (size_t i = 0; i < 32; i++) {
    int high = nibble(hex[2 * i]), low = nibble(hex[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return Digest(bytes);
}
}  // namespace

std::optional<Digest> Digest::try_parse(std::string_view text) {
  constexpr std::string_view kPrefix = "sha256:";
  if (!text.starts_with(kPrefix)) return std::nullopt;
  return parse_hex(text.substr(kPrefix.size()));
}

Digest Digest::parse(std::string_view text) {
  if (auto digest = try_parse(text)) return *digest;
  fail(ErrorCode::kInvalid, "digest {}: not of the form sha256:<64 hex digits>", quote(text));
}

Digest Digest::from_hex(std::string_view hex) {
  if (auto digest = parse_hex(hex)) return *digest;
  fail(ErrorCode::kInvalid, "digest {}: not 64 lower-case hex digits", quote(hex));
}

Digest Digest::of(std::string_view bytes) {
  return Sha256().update(bytes).finish();
}

std::string Digest::hex() const {
  return to_hex({bytes_.data(), bytes_.size()});
}
std::string Digest::to_string() const {
  return "sha256:" + hex();
}
std::string Digest::short_hex() const {
  return hex().substr(0, 12);
}

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  // Fetching the algorithm takes a lock and costs more than hashing a small file.
  static const EVP_MD* const kSha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  if (!kSha256 || EVP_DigestInit_ex2(state_->context, kSha256, nullptr) != 1)
    fail(ErrorCode::kInternal, "sha256: the crypto library refused to start");
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

Sha256& Sha256::update(const void* data, size_t size) {
  EVP_DigestUpdate(state_->context, data, size);
  return *this;
}

Digest Sha256::finish() {
  std::array<uint8_t, 32> bytes;
  unsigned size = 0;
  EVP_DigestFinal_ex(state_->context, bytes.data(), &size);
  return Digest(bytes);
}

Digest keyed_digest(std::string_view key, std::string_view bytes) {
  constexpr size_t kBlock = 64;
  if (key.size() > kBlock) fail(ErrorCode::kInternal, "a key of {} bytes is too long", key.size());
  auto padded = [&](char mask) {
    std::string block(kBlock, mask);
    for (size_t i = 0; i < key.size(); i++) block[i] = static_cast<char>(key[i] ^ mask);
    return block;
  };
  Digest inner = Sha256().update(padded(0x36)).update(bytes).finish();
  return Sha256().update(padded(0x5c)).update(inner.bytes().data(), inner.bytes().size()).finish();
}

}  // namespace corten
