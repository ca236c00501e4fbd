// Huffman codes of bounded length, and the estimate of what a code would cost before it is made.
#pragma once
#include <cstdint>
#include <span>

#include "archive/gz1_format.h"

namespace corten::archive::gz1 {

struct Code {
  uint16_t bits = 0;   // in the order in which deflate writes them: the first bit lowest
  uint8_t length = 0;  // 0: the symbol does not occur
};

// Gives each symbol that occurs a code of at most `limit` bits. Fewer than two symbols are filled up to two,
// of one bit each, since decoders refuse codes that are not complete.
void make_codes(std::span<const uint32_t> counts, int limit, std::span<Code> codes);

// Deflate packs codes from their highest bit on, everything else from the lowest.
uint16_t reversed_bits(uint32_t code, int length);

// The entropy of a block's symbols (the end of block included), in 1/256 bits. Integers only.
uint64_t entropy(const SymbolCounts& counts);

}  // namespace corten::archive::gz1
