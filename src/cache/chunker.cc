#include "cache/chunker.h"

#include <algorithm>
#include <array>

namespace corten::cache {

namespace {

constexpr std::array<uint64_t, 256> make_gear() {
  std::array<uint64_t, 256> gear{};
  uint64_t state = 0x636f7274656e2d31;
  for (uint64_t& number : gear) {
    state += 0x9E3779B97F4A7C15;
    uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    number = z ^ (z >> 31);
  }
  return gear;
}

constexpr std::array<uint64_t, 256> kGear = make_gear();
constexpr int kBitsBefore = 22, kBitsBehind = 18;  // of the average size

// The place behind the first byte from `at` on whose hash ends a piece, or `end`.
size_t find_cut(const std::string& piece, size_t at, size_t end, int bits, uint64_t& hash) {
  const uint64_t limit = uint64_t{1} << (64 - bits);
  uint64_t h = hash;
  const char* data = piece.data();
  while (at < end) {
    h = (h << 1) + kGear[static_cast<uint8_t>(data[at++])];
    if (h < limit) {
      hash = 0;
      return at;
    }
  }
  hash = h;
  return end + 1;
}

}  // namespace

uint64_t gear_number(uint8_t byte) {
  return kGear[byte];
}

void Chunker::cut() {
  if (!piece_.empty()) take_(piece_);
  piece_.clear();
  looked_at_ = 0;
  hash_ = 0;
}

void Chunker::write(std::string_view bytes) {
  piece_.reserve(kMaxChunkBytes);
  while (!bytes.empty()) {
    const size_t had = piece_.size();
    piece_.append(bytes.substr(0, kMaxChunkBytes - had));
    looked_at_ = std::max(looked_at_, std::min(kMinChunkBytes, piece_.size()));
    size_t found = piece_.size() + 1;
    if (looked_at_ < kAverageChunkBytes) {
      const size_t end = std::min(piece_.size(), kAverageChunkBytes);
      found = find_cut(piece_, looked_at_, end, kBitsBefore, hash_);
      looked_at_ = std::min(found, end);
      if (found > end) found = piece_.size() + 1;
    }
    if (found > piece_.size() && looked_at_ < piece_.size()) {
      found = find_cut(piece_, looked_at_, piece_.size(), kBitsBehind, hash_);
      looked_at_ = piece_.size();
    }
    if (found > piece_.size() && piece_.size() == kMaxChunkBytes) found = kMaxChunkBytes;
    if (found > piece_.size()) return;
    piece_.resize(found);
    bytes.remove_prefix(found - had);
    cut();
  }
}

}  // namespace corten::cache
