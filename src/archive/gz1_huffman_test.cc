#include "archive/gz1_huffman.h"

#include <gtest/gtest.h>

#include <queue>
#include <vector>

#include "archive/random_bytes_test.h"

namespace corten::archive::gz1 {
namespace {

uint64_t cost(const std::vector<uint32_t>& counts, const std::vector<Code>& codes) {
  uint64_t bits = 0;
  for (size_t i = 0; i < counts.size(); i++) bits += uint64_t{counts[i]} * codes[i].length;
  return bits;
}

// The cost of an unlimited Huffman code: the sum of all inner nodes.
uint64_t best_cost(const std::vector<uint32_t>& counts) {
  std::priority_queue<uint64_t, std::vector<uint64_t>, std::greater<>> queue;
  for (uint32_t c : counts)
    if (c) queue.push(c);
  uint64_t total = 0;
  while (queue.size() > 1) {
    uint64_t a = queue.top();
    queue.pop();
    uint64_t b = queue.top();
    queue.pop();
    total += a + b;
    queue.push(a + b);
  }
  return total;
}

std::vector<Code> codes_of(const std::vector<uint32_t>& counts, int limit) {
  std::vector<Code> codes(counts.size());
  make_codes(counts, limit, codes);
  // Complete, prefix-free (by Kraft and canonical order), bounded, and present for every symbol that occurs.
  uint64_t space = 0;
  for (size_t i = 0; i < counts.size(); i++) {
    EXPECT_LE(codes[i].length, limit);
    EXPECT_TRUE(counts[i] == 0 || codes[i].length > 0);
    if (codes[i].length) space += uint64_t{1} << (limit - codes[i].length);
  }
  EXPECT_EQ(space, uint64_t{1} << limit);
  for (size_t i = 0; i < codes.size(); i++)
    for (size_t j = 0; j < codes.size(); j++)
      if (i != j && codes[i].length && codes[i].length <= codes[j].length) {
        uint32_t mask = (1u << codes[i].length) - 1;
        EXPECT_NE(codes[i].bits, codes[j].bits & mask) << i << " is a prefix of " << j;
      }
  return codes;
}

TEST(Huffman, FewSymbols) {
  EXPECT_EQ(codes_of({0, 0, 0}, 15)[1].length, 1);
  EXPECT_EQ(codes_of({5, 0, 0}, 15)[1].length, 1);
  EXPECT_EQ(codes_of({0, 0, 5}, 15)[2].length, 1);
  EXPECT_EQ(codes_of({1, 1, 1, 1}, 7)[3].length, 2);
}

TEST(Huffman, IsOptimalWithinItsLimit) {
  Random random(7);
  for (int round = 0; round < 60; round++) {
    std::vector<uint32_t> counts(2 + random.below(120));
    for (uint32_t& c : counts) c = static_cast<uint32_t>(random.below(1 + random.below(1000)));
    counts[0] = counts[1] = 1;
    std::vector<Code> codes = codes_of(counts, 15);
    EXPECT_EQ(cost(counts, codes), best_cost(counts));
  }
}

TEST(Huffman, DeepCodesAreCut) {
  std::vector<uint32_t> counts{1, 1};
  while (counts.size() < 28) counts.push_back(counts[counts.size() - 1] + counts[counts.size() - 2]);
  for (int limit : {7, 14, 15}) {
    std::vector<uint32_t> part(counts.begin(),
                               counts.begin() + std::min<size_t>(counts.size(), limit == 7 ? 19 : 28));
    std::vector<Code> codes = codes_of(part, limit);
    EXPECT_LT(cost(part, codes), best_cost(part) * 5 / 4);
    for (size_t i = 1; i < part.size(); i++)
      EXPECT_LE(codes[i].length, codes[i - 1].length);  // the rarer, the longer
  }
}

TEST(Entropy, IsExactForPowersOfTwo) {
  SymbolCounts counts;
  counts.literals['a'] = 8;
  counts.literals['b'] = 4;
  counts.literals['c'] = 3;  // with the end of block the total is 16
  // 8 * 1 + 4 * 2 + 3 * log2(16/3) + 4; log2(3) = 1.585 is 405/256 cut off.
  EXPECT_EQ(entropy(counts), 8u * 256 + 4 * 512 + 3 * (4 * 256 - 405) + 4 * 256);
  counts.distances[3] = 1000;
  EXPECT_EQ(entropy(counts), 8u * 256 + 4 * 512 + 3 * (4 * 256 - 405) + 4 * 256);
  counts.distances[4] = 1000;
  EXPECT_GE(entropy(counts), 2000u * 256);
}

}  // namespace
}  // namespace corten::archive::gz1
