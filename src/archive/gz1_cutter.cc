// The rule (R3), in distances from the chunk's start; all of it is part of the frozen format.
//
// 1. A 64-bit gear hash runs over the bytes from kMinChunk - 64 on. The first place at or after kMinChunk
// where its top 18 bits
//    are zero is a hit; on average that is 256 KiB later.
// 2. A hit waits for a better place: the start of a tar member, or a cut by rule 4, at most 128 KiB on and
// not beyond
//    kMaxChunkBytes. If none comes the chunk ends at the hit. (A hit *in front of* members would be better
//    sought in the bytes before them, but those are zero padding, the same everywhere.)
// 3. Without a hit a chunk ends at kMaxChunkBytes.
// 4. The content of a file of 256 KiB or more begins a chunk, and the end of its padding ends one: the file's
// chunks are the same in
//    every archive. A chunk of less than 16 KiB (headers between two such files) is not ended for it but
//    leads the file's first.
// 5. The end of the stream ends the last chunk, a hit that is waiting notwithstanding.
//
// Bytes after a hit that is cut at belong to the next chunk, and are fewer than kMinChunk - 64: they need no
// hashing again.
#include "archive/gz1_cutter.h"

#include <algorithm>
#include <array>

namespace corten::archive::gz1 {

namespace {
constexpr size_t kMinChunk = 256 << 10;
constexpr size_t kWarmUp = 64;
constexpr size_t kPatience = 128 << 10;
constexpr uint64_t kBigFile = 256 << 10;
constexpr size_t kTinyChunk = 16 << 10;
constexpr int kHitBits = 18;
static_assert(kPatience < kMinChunk - kWarmUp);

constexpr uint64_t kGearSeed = 0x436f7274656e2131;

// splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
constexpr std::array<uint64_t, 256> kGear = [] {
  std::array<uint64_t, 256> table{};
  uint64_t state = kGearSeed;
  for (uint64_t& value : table) {
    state += 0x9e3779b97f4a7c15;
    uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    value = z ^ (z >> 31);
  }
  return table;
}();
// 64 equal bytes b have the hash -kGear[b]; were its top bits zero, padding would cut everywhere.
static_assert((0 - kGear[0]) >> (64 - kHitBits) != 0);
}  // namespace

void Cutter::write(std::string_view bytes) {
  while (!bytes.empty()) bytes.remove_prefix(append(bytes));
}

// Takes as many of the bytes as need no decision.
size_t Cutter::append(std::string_view bytes) {
  size_t limit = hit_ ? std::min(*hit_ + kPatience, kMaxChunkBytes) : kMaxChunkBytes;
  if (chunk_.size() >= limit) {
    cut(hit_ ? *hit_ : limit);
    return 0;
  }
  size_t count = std::min(bytes.size(), limit - chunk_.size());
  if (file_rest_) count = static_cast<size_t>(std::min<uint64_t>(count, *file_rest_));
  size_t from = chunk_.size();
  chunk_.append(bytes.substr(0, count));
  if (!hit_) {
    hit_ = find_hit(from);
    // The bytes beyond the place where patience ends are to be looked at again.
    if (hit_ && chunk_.size() > *hit_ + kPatience) {
      count -= chunk_.size() - (*hit_ + kPatience);
      chunk_.resize(*hit_ + kPatience);
    }
  }
  if (file_rest_) {
    *file_rest_ -= count;
    if (*file_rest_ == 0) {
      file_rest_.reset();
      cut(chunk_.size());
    }
  }
  return count;
}

std::optional<size_t> Cutter::find_hit(size_t from) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(chunk_.data());
  size_t i = std::max(from, kMinChunk - kWarmUp);
  if (from <= kMinChunk - kWarmUp) hash_ = 0;
  uint64_t hash = hash_;
  const size_t end = chunk_.size(), warm_end = std::min(end, kMinChunk - 1);
  for (; i < warm_end; i++) hash = (hash << 1) + kGear[bytes[i]];
  for (; i < end; i++) {
    hash = (hash << 1) + kGear[bytes[i]];
    if (hash >> (64 - kHitBits) == 0) return i + 1;
  }
  hash_ = hash;
  return std::nullopt;
}

void Cutter::member_begins() {
  if (hit_) cut(chunk_.size());
}

void Cutter::data_begins(uint64_t size) {
  if (size < kBigFile) return;
  if (chunk_.size() >= kTinyChunk) cut(chunk_.size());
  file_rest_ = (size + 511) / 512 * 512;
}

void Cutter::finish() {
  if (!chunk_.empty()) cut(chunk_.size());
}

void Cutter::cut(size_t at) {
  std::string rest = chunk_.substr(at);
  chunk_.resize(at);
  hit_.reset();
  take_(std::exchange(chunk_, std::move(rest)));
}

}  // namespace corten::archive::gz1
