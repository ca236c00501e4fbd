#include "base/digest.h"

#include <openssl/sha.h>

#include <cstring>

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

// The library's older interface: its context is plain data, so a hash can be stopped, kept and gone on with,
// and it needs no allocation for each small file. Both interfaces end in the same code for the processor.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace {
static_assert(sizeof(SHA256_CTX) == 112);
SHA256_CTX& context(std::array<std::byte, 112>& state) {
  return *reinterpret_cast<SHA256_CTX*>(state.data());
}

constexpr size_t kWords = 8, kBlock = SHA256_CBLOCK;

template <typename T>
void put_little_endian(std::string& to, T value) {
  for (size_t i = 0; i < sizeof value; i++) to += static_cast<char>(value >> (8 * i));
}
uint64_t little_endian(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}
}  // namespace

Sha256::Sha256() {
  SHA256_Init(&context(state_));
}

Sha256& Sha256::update(const void* data, size_t size) {
  SHA256_Update(&context(state_), data, size);
  return *this;
}

Digest Sha256::finish() {
  std::array<uint8_t, 32> bytes;
  SHA256_Final(bytes.data(), &context(state_));
  return Digest(bytes);
}

std::string Sha256::save() const {
  SHA256_CTX now;
  std::memcpy(&now, state_.data(), sizeof now);
  std::string saved;
  for (unsigned word : now.h) put_little_endian(saved, static_cast<uint32_t>(word));
  put_little_endian(saved, ((uint64_t{now.Nh} << 32) | now.Nl) / 8);
  saved.append(reinterpret_cast<const char*>(now.data), now.num);
  return saved;
}

std::optional<Sha256> Sha256::restore(std::string_view saved) {
  constexpr size_t kHead = kWords * 4 + 8;
  if (saved.size() < kHead) return std::nullopt;
  uint64_t bytes = little_endian(saved.substr(kWords * 4, 8));
  std::string_view rest = saved.substr(kHead);
  if (bytes >> 61 != 0 || rest.size() != bytes % kBlock) return std::nullopt;
  Sha256 hash;
  SHA256_CTX& to = context(hash.state_);
  for (size_t i = 0; i < kWords; i++) to.h[i] = static_cast<unsigned>(little_endian(saved.substr(4 * i, 4)));
  to.Nl = static_cast<unsigned>(bytes * 8);
  to.Nh = static_cast<unsigned>((bytes * 8) >> 32);
  to.num = static_cast<unsigned>(rest.size());
  std::memcpy(to.data, rest.data(), rest.size());
  return hash;
}

#pragma GCC diagnostic pop

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
