// Lengths by Moffat and Katajainen's in-place algorithm ("In-Place Calculation of Minimum-Redundancy Codes",
// 1995): over counts in ascending order, one array holds first weights, then parents, then depths. Codes
// longer than the limit are cut to it; that oversubscribes the code space, and the repair takes it back: each
// step lengthens the deepest code that is shorter than the limit, which frees room at the limit. Sorting is
// by count, then symbol, so nothing depends on the sort.
#include "archive/gz1_huffman.h"

#include <algorithm>
#include <array>

namespace corten::archive::gz1 {

namespace {
constexpr size_t kMaxSymbols = kLiteralSymbols;
constexpr size_t kMaxDepth = 32;  // of an unlimited code over counts below 2^21

// values: ascending counts in, depths out (descending). At least two.
void compute_depths(std::span<uint32_t> values) {
  const size_t n = values.size();
  // Pair the two lightest of leaves and inner nodes; a node that is used up holds its parent.
  size_t leaf = 0, root = 0;
  for (size_t next = 0; next + 1 < n; next++) {
    auto take = [&] {
      if (leaf >= n || (root < next && values[root] < values[leaf])) {
        uint32_t weight = values[root];
        values[root++] = static_cast<uint32_t>(next);
        return weight;
      }
      return values[leaf++];
    };
    uint32_t first = take(), second = take();
    values[next] = first + second;
  }
  // Parents to depths of inner nodes, from the root down.
  values[n - 2] = 0;
  for (size_t i = n - 2; i-- > 0;) values[i] = values[values[i]] + 1;
  // Depths of inner nodes to depths of leaves.
  size_t available = 1, inner = n - 1, out = n;
  for (uint32_t depth = 0; available > 0; depth++) {
    size_t used = 0;
    while (inner > 0 && values[inner - 1] == depth) {
      used++;
      inner--;
    }
    for (; available > used; available--) values[--out] = depth;
    available = 2 * used;
  }
}

// RFC 1951, section 3.2.2: codes of one length are consecutive, in symbol order.
void assign_codes(std::span<Code> codes, const std::array<uint32_t, kMaxDepth + 1>& of_length, int limit) {
  std::array<uint32_t, kMaxDepth + 1> next{};
  uint32_t code = 0;
  for (int length = 1; length <= limit; length++) {
    next[static_cast<size_t>(length)] = code;
    code = (code + of_length[static_cast<size_t>(length)]) << 1;
  }
  for (Code& c : codes)
    if (c.length) c.bits = reversed_bits(next[c.length]++, c.length);
}

constexpr int kMantissaBits = 12;

// 256 * log2(1 + i/4096), cut off, digit by digit: squaring doubles the logarithm, and passing 2 is its next
// bit.
constexpr std::array<uint8_t, 1 << kMantissaBits> kLogFraction = [] {
  std::array<uint8_t, 1 << kMantissaBits> table{};
  for (size_t i = 0; i < table.size(); i++) {
    uint64_t x = ((uint64_t{1} << kMantissaBits) + i)
                 << (31 - kMantissaBits);  // 1 <= x < 2, 31 bits after the point
    uint32_t bits = 0;
    for (int k = 0; k < 8; k++) {
      x = (x * x) >> 31;
      bits <<= 1;
      if (x >> 32) {
        bits |= 1;
        x >>= 1;
      }
    }
    table[i] = static_cast<uint8_t>(bits);
  }
  return table;
}();

// 256 * log2(n), for n > 0.
uint64_t log2_256(uint32_t n) {
  int exponent = std::bit_width(n) - 1;
  uint32_t mantissa =
      exponent > kMantissaBits ? n >> (exponent - kMantissaBits) : n << (kMantissaBits - exponent);
  return static_cast<uint64_t>(exponent) * 256 + kLogFraction[mantissa - (1u << kMantissaBits)];
}

uint64_t entropy_of(std::span<const uint32_t> counts, uint32_t extra) {
  uint64_t total = extra, own = 0;
  for (uint32_t count : counts) {
    if (count == 0) continue;
    total += count;
    own += count * log2_256(count);
  }
  if (total == 0) return 0;
  uint64_t whole = total * log2_256(static_cast<uint32_t>(total));
  return whole > own ? whole - own : 0;
}
}  // namespace

uint16_t reversed_bits(uint32_t code, int length) {
  uint32_t result = 0;
  for (int i = 0; i < length; i++) result |= ((code >> i) & 1) << (length - 1 - i);
  return static_cast<uint16_t>(result);
}

void make_codes(std::span<const uint32_t> counts, int limit, std::span<Code> codes) {
  std::array<uint64_t, kMaxSymbols> order;
  size_t n = 0;
  for (size_t symbol = 0; symbol < counts.size(); symbol++) {
    codes[symbol] = {};
    if (counts[symbol] != 0) order[n++] = static_cast<uint64_t>(counts[symbol]) << 9 | symbol;
  }
  for (size_t symbol = 0; n < 2; symbol++)
    if (counts[symbol] == 0) order[n++] = symbol;
  std::sort(order.begin(), order.begin() + n);

  std::array<uint32_t, kMaxSymbols> depths;
  for (size_t i = 0; i < n; i++) depths[i] = static_cast<uint32_t>(order[i] >> 9);
  compute_depths({depths.data(), n});

  std::array<uint32_t, kMaxDepth + 1> of_length{};
  const size_t last = static_cast<size_t>(limit);
  uint64_t space = 0;  // used, in units of one code of the limit's length
  for (size_t i = 0; i < n; i++) {
    size_t length = std::min<size_t>(depths[i], last);
    of_length[length]++;
    space += uint64_t{1} << (last - length);
  }
  for (; space > uint64_t{1} << last; space--) {
    size_t length = last - 1;
    while (of_length[length] == 0) length--;
    of_length[length]--;
    of_length[length + 1] += 2;
    of_length[last]--;
  }
  // The rarest have the longest.
  size_t i = 0;
  for (size_t length = last; length >= 1; length--)
    for (uint32_t k = 0; k < of_length[length]; k++)
      codes[order[i++] & 511].length = static_cast<uint8_t>(length);
  assign_codes(codes, of_length, limit);
}

uint64_t entropy(const SymbolCounts& counts) {
  return entropy_of(counts.literals, 1) + entropy_of(counts.distances, 0);
}

}  // namespace corten::archive::gz1
