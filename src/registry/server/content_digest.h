// Digests of what a registry holds: SHA-256 and SHA-512 (image-spec, descriptor.md, "Registered Algorithms").
// Corten's own contents have SHA-256 alone (base/digest.h); clients may push blobs and manifests by either.
#pragma once
#include <compare>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace corten::registry::serving {

enum class Algorithm { kSha256, kSha512 };
std::optional<Algorithm> parse_algorithm(std::string_view text);  // "sha256", "sha512"
std::string_view algorithm_name(Algorithm algorithm);

// A value; ordered by its text.
class ContentDigest {
 public:
  // "sha256:<64 lower-case hex>", "sha512:<128 lower-case hex>"; nothing for anything else.
  static std::optional<ContentDigest> parse(std::string_view text);
  static ContentDigest of(Algorithm algorithm, std::string_view bytes);

  Algorithm algorithm() const { return algorithm_; }
  const std::string& hex() const { return hex_; }
  std::string to_string() const;
  auto operator<=>(const ContentDigest&) const = default;

 private:
  friend class ContentHasher;
  ContentDigest(Algorithm algorithm, std::string hex) : algorithm_(algorithm), hex_(std::move(hex)) {}
  Algorithm algorithm_;
  std::string hex_;
};

// A running digest. Not thread-safe.
class ContentHasher {
 public:
  explicit ContentHasher(Algorithm algorithm);
  ContentHasher(ContentHasher&&) noexcept;
  ContentHasher& operator=(ContentHasher&&) noexcept;
  ~ContentHasher();
  Algorithm algorithm() const { return algorithm_; }
  void update(std::string_view bytes);
  ContentDigest finish();  // ends it

 private:
  struct State;
  Algorithm algorithm_;
  std::unique_ptr<State> state_;
};

}  // namespace corten::registry::serving
