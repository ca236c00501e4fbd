// One table of the last position (mod 65536) of each hash of five bytes. A stale or colliding entry costs one
// failed comparison and can do no harm: the distance is taken modulo 65536 too, so it lies within the window
// or is refused, and four bytes are compared before anything is believed. Hence no sliding, no rebasing, and
// the table is cleared but once per chunk. The last 16 bytes of a chunk are literals unless a match runs into
// them, so that every 8-byte load stays inside.
#include "archive/gz1_matcher.h"

#include <algorithm>

namespace corten::archive::gz1 {

namespace {
constexpr size_t kTailBytes = 16;
constexpr size_t kSubBlockBytes = 8 << 10;   // a sub-block ends at the first match after so many,
constexpr size_t kSubBlockLimit = 12 << 10;  // or here, if nothing matches
constexpr size_t kMaxDistance = 32 << 10;
constexpr uint32_t kLazyBelow = 16;
constexpr uint64_t kHashFactor = 0x9E3779B185EBCA87;
constexpr int kTableBits = 15;

size_t hash_of(uint64_t ahead) {
  return ((ahead << 24) * kHashFactor) >> (64 - kTableBits);
}

struct Match {
  uint32_t length = 0, distance = 0;
};

// The chunk and its table as plain values: members would be loaded again after every store to the table.
struct Window {
  const uint8_t* bytes;
  size_t size;
  uint16_t* table;

  void insert(size_t position) const {
    table[hash_of(load_64(bytes + position))] = static_cast<uint16_t>(position);
  }

  Match find_and_insert(size_t position) const {
    const uint8_t* here = bytes + position;
    uint64_t ahead = load_64(here);
    size_t slot = hash_of(ahead);
    size_t distance = static_cast<uint16_t>(position - table[slot]);
    table[slot] = static_cast<uint16_t>(position);
    if (distance - 1 >= kMaxDistance) return {};  // 0 wraps around
    const uint8_t* there = here - distance;
    uint64_t difference = ahead ^ load_64(there);
    if (static_cast<uint32_t>(difference) != 0) return {};
    size_t length;
    if (difference != 0) {
      length = static_cast<size_t>(std::countr_zero(difference)) / 8;
    } else {
      length = extend(here, there, std::min(kMaxMatch, size - position));
    }
    return {static_cast<uint32_t>(length), static_cast<uint32_t>(distance)};
  }

  // The first 8 bytes agree.
  static size_t extend(const uint8_t* here, const uint8_t* there, size_t limit) {
    size_t length = 8;
    for (; length + 8 <= limit; length += 8) {
      uint64_t difference = load_64(here + length) ^ load_64(there + length);
      if (difference != 0) return length + static_cast<size_t>(std::countr_zero(difference)) / 8;
    }
    while (length < limit && here[length] == there[length]) length++;
    return length;
  }
};
}  // namespace

Matcher::Matcher(std::string_view chunk)
    : bytes_(reinterpret_cast<const uint8_t*>(chunk.data())),
      size_(chunk.size()),
      search_end_(chunk.size() > kTailBytes ? chunk.size() - kTailBytes : 0),
      table_(std::make_unique<uint16_t[]>(size_t{1} << kTableBits)) {}

size_t Matcher::next(std::vector<Sequence>& sequences, SymbolCounts& counts) {
  const Window window{bytes_, size_, table_.get()};
  const size_t start = position_, search_end = search_end_;
  size_t position = start, run_start = start;
  auto add_literals = [&](size_t end) {
    for (; position < end; position++) counts.literals[window.bytes[position]]++;
  };
  while (position - start < kSubBlockBytes) {
    Match match;
    while (position < search_end && position - start < kSubBlockLimit) {
      match = window.find_and_insert(position);
      if (match.length != 0) break;
      // The longer nothing matched, the less is looked at.
      size_t step = 1 + std::min<size_t>(31, (position - run_start) >> 6);
      add_literals(std::min(position + step, window.size));
    }
    if (match.length == 0) {
      if (position >= search_end) add_literals(window.size);
      if (position != run_start) sequences.push_back({.run = static_cast<uint16_t>(position - run_start)});
      position_ = position;
      return position - start;
    }
    size_t inserted = position + 1;
    if (match.length < kLazyBelow && inserted < search_end) {
      Match later = window.find_and_insert(inserted++);
      if (later.length > match.length) {
        add_literals(position + 1);
        match = later;
      }
    }
    Sequence sequence{.run = static_cast<uint16_t>(position - run_start),
                      .length = static_cast<uint16_t>(match.length),
                      .distance = static_cast<uint16_t>(match.distance),
                      .length_slot = kLengthSlot[match.length],
                      .distance_slot = distance_slot(match.distance)};
    counts.literals[kFirstLengthSymbol + sequence.length_slot]++;
    counts.distances[sequence.distance_slot]++;
    sequences.push_back(sequence);
    position += match.length;
    for (size_t end = std::min(position, search_end); inserted < end; inserted++) window.insert(inserted);
    run_start = position;
  }
  position_ = position;
  return position - start;
}

}  // namespace corten::archive::gz1
