#include "registry/server/content_digest.h"

#include <openssl/evp.h>

#include <array>

#include "base/digest.h"
#include "base/error.h"
#include "base/strings.h"

namespace corten::registry::serving {

std::optional<Algorithm> parse_algorithm(std::string_view text) {
  if (text == "sha256") return Algorithm::kSha256;
  if (text == "sha512") return Algorithm::kSha512;
  return std::nullopt;
}

std::string_view algorithm_name(Algorithm algorithm) {
  return algorithm == Algorithm::kSha256 ? "sha256" : "sha512";
}

std::optional<ContentDigest> ContentDigest::parse(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::optional<Algorithm> algorithm = parse_algorithm(text.substr(0, colon));
  const std::string_view hex = text.substr(colon + 1);
  if (!algorithm || hex.size() != (*algorithm == Algorithm::kSha256 ? 64 : 128) ||
      hex.find_first_not_of("0123456789abcdef") != std::string_view::npos)
    return std::nullopt;
  return ContentDigest(*algorithm, std::string(hex));
}

ContentDigest ContentDigest::of(Algorithm algorithm, std::string_view bytes) {
  ContentHasher hasher(algorithm);
  hasher.update(bytes);
  return hasher.finish();
}

std::string ContentDigest::to_string() const {
  return std::string(algorithm_name(algorithm_)) + ":" + hex_;
}

struct ContentHasher::State {
  Sha256 sha256;
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> other{nullptr, EVP_MD_CTX_free};
};

ContentHasher::ContentHasher(Algorithm algorithm) : algorithm_(algorithm), state_(std::make_unique<State>()) {
  if (algorithm_ == Algorithm::kSha256) return;
  state_->other.reset(EVP_MD_CTX_new());
  if (!state_->other || EVP_DigestInit_ex(state_->other.get(), EVP_sha512(), nullptr) != 1)
    fail(ErrorCode::kInternal, "SHA-512 is not there");
}
ContentHasher::ContentHasher(ContentHasher&&) noexcept = default;
ContentHasher& ContentHasher::operator=(ContentHasher&&) noexcept = default;
ContentHasher::~ContentHasher() = default;

void ContentHasher::update(std::string_view bytes) {
  if (!state_->other)
    state_->sha256.update(bytes);
  else if (EVP_DigestUpdate(state_->other.get(), bytes.data(), bytes.size()) != 1)
    fail(ErrorCode::kInternal, "SHA-512 failed");
}

ContentDigest ContentHasher::finish() {
  if (!state_->other) return {algorithm_, state_->sha256.finish().hex()};
  std::array<uint8_t, 64> bytes;
  if (EVP_DigestFinal_ex(state_->other.get(), bytes.data(), nullptr) != 1)
    fail(ErrorCode::kInternal, "SHA-512 failed");
  return {algorithm_, to_hex(bytes)};
}

}  // namespace corten::registry::serving
