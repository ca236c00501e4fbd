// Content digests (OCI image-spec, descriptor.md, "Digests"): SHA-256 only, kept as 32 bytes.
#pragma once
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace corten {

// The digest of some bytes. A value; the default is all zeros and equals no real content.
class Digest {
 public:
  Digest() = default;
  explicit Digest(const std::array<uint8_t, 32>& bytes) : bytes_(bytes) {}

  // "sha256:<64 lower-case hex>"; throws Error(kInvalid) for anything else.
  static Digest parse(std::string_view text);
  static std::optional<Digest> try_parse(std::string_view text);
  static Digest from_hex(std::string_view hex);  // throws Error(kInvalid)
  static Digest of(std::string_view bytes);

  std::string to_string() const;  // "sha256:..."
  std::string hex() const;        // 64 characters
  std::string short_hex() const;  // the first 12
  const std::array<uint8_t, 32>& bytes() const { return bytes_; }
  bool is_zero() const { return bytes_ == std::array<uint8_t, 32>{}; }
  auto operator<=>(const Digest&) const = default;

 private:
  std::array<uint8_t, 32> bytes_{};
};

// The digest of a layer's uncompressed tar (image-spec, config.md, "Layer DiffID"). Never a blob's digest.
struct DiffId {
  Digest digest;
  auto operator<=>(const DiffId&) const = default;
};

// A running SHA-256 (FIPS 180-4). A value: a copy goes on from the same place. Not thread-safe.
class Sha256 {
 public:
  Sha256();

  Sha256& update(std::string_view bytes) { return update(bytes.data(), bytes.size()); }
  Sha256& update(const void* data, size_t size);
  // Ends the hash; update() may not be called afterwards.
  Digest finish();

  // The state as bytes, from which another process may go on: docs/formats, "SHA-256 state". restore() gives
  // nothing for bytes that save() does not write.
  std::string save() const;
  static std::optional<Sha256> restore(std::string_view saved);

 private:
  alignas(8) std::array<std::byte, 112> state_;  // the library's context
};

// HMAC-SHA-256 (RFC 2104); a key of 64 bytes at most.
Digest keyed_digest(std::string_view key, std::string_view bytes);

}  // namespace corten

template <>
struct std::hash<corten::Digest> {
  size_t operator()(const corten::Digest& d) const noexcept {
    size_t value;
    static_assert(sizeof value <= 32);
    __builtin_memcpy(&value, d.bytes().data(), sizeof value);
    return value;
  }
};
