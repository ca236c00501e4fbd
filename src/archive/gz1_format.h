// What the parts of the gz1 encoder share: sequences, symbol counts and the constants of deflate (RFC 1951,
// section 3.2.5).
#pragma once
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace corten::archive::gz1 {

inline constexpr size_t kMaxChunkBytes = 1 << 20;
inline constexpr size_t kMaxMatch = 258;
inline constexpr size_t kLiteralSymbols = 286, kDistanceSymbols = 30;
inline constexpr size_t kEndOfBlock = 256, kFirstLengthSymbol = 257;

// Some literals, then a copy. A length of 0 is no copy: the literals end their sub-block.
struct Sequence {
  uint16_t run = 0;
  uint16_t length = 0;
  uint16_t distance = 0;
  uint8_t length_slot = 0, distance_slot = 0;
};

struct SymbolCounts {
  std::array<uint32_t, kLiteralSymbols> literals{};  // and lengths; the end of block is not counted
  std::array<uint32_t, kDistanceSymbols> distances{};

  void add(const SymbolCounts& other) {
    for (size_t i = 0; i < kLiteralSymbols; i++) literals[i] += other.literals[i];
    for (size_t i = 0; i < kDistanceSymbols; i++) distances[i] += other.distances[i];
  }
};

// Length 258 has a slot of its own, so slot 27 ends one short of its range.
inline constexpr std::array<uint16_t, 29> kLengthBase = {3,  4,  5,  6,   7,   8,   9,   10,  11, 13,
                                                         15, 17, 19, 23,  27,  31,  35,  43,  51, 59,
                                                         67, 83, 99, 115, 131, 163, 195, 227, 258};
inline constexpr std::array<uint8_t, 29> kLengthExtra = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                                         2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
inline constexpr std::array<uint16_t, 30> kDistanceBase = {
    1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
    193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
inline constexpr std::array<uint8_t, 30> kDistanceExtra = {
    0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};

inline constexpr std::array<uint8_t, kMaxMatch + 1> kLengthSlot = [] {
  std::array<uint8_t, kMaxMatch + 1> slots{};
  for (size_t slot = 0; slot < kLengthBase.size(); slot++)
    for (size_t length = kLengthBase[slot]; length <= kMaxMatch; length++)
      slots[length] = static_cast<uint8_t>(slot);
  return slots;
}();

// Each pair of slots shares a power of two: the slot is the exponent and the bit after the leading one.
inline uint8_t distance_slot(uint32_t distance) {
  uint32_t d = distance - 1;
  if (d < 2) return static_cast<uint8_t>(d);
  uint32_t exponent = static_cast<uint32_t>(std::bit_width(d)) - 1;
  return static_cast<uint8_t>(2 * exponent + ((d >> (exponent - 1)) & 1));
}

// Little-endian whatever the machine, as the output must not depend on it.
inline uint64_t load_64(const uint8_t* at) {
  uint64_t value;
  memcpy(&value, at, sizeof value);
  if constexpr (std::endian::native == std::endian::big) value = __builtin_bswap64(value);
  return value;
}

inline void store_64(uint8_t* at, uint64_t value) {
  if constexpr (std::endian::native == std::endian::big) value = __builtin_bswap64(value);
  memcpy(at, &value, sizeof value);
}

}  // namespace corten::archive::gz1
