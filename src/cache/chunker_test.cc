#include "cache/chunker.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

#include "base/digest.h"

namespace corten::cache {
namespace {

std::string random_bytes(size_t size, uint32_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  return bytes;
}

// Given in pieces of `step` bytes; 0: as a whole.
std::vector<std::string> cut(std::string_view bytes, size_t step = 0) {
  std::vector<std::string> chunks;
  Chunker chunker([&](std::string_view chunk) { chunks.emplace_back(chunk); });
  while (!bytes.empty()) {
    chunker.write(bytes.substr(0, step ? step : bytes.size()));
    bytes.remove_prefix(std::min(step ? step : bytes.size(), bytes.size()));
  }
  chunker.cut();
  chunker.cut();
  return chunks;
}
std::string joined(const std::vector<std::string>& chunks) {
  std::string all;
  for (const std::string& chunk : chunks) all += chunk;
  return all;
}

TEST(Chunker, TheTableIsFrozen) {
  std::string table;
  for (int i = 0; i < 256; i++)
    for (int byte = 0; byte < 8; byte++)
      table += static_cast<char>(gear_number(static_cast<uint8_t>(i)) >> (8 * byte));
  EXPECT_EQ(Digest::of(table).hex(), "e464f24eb25b810fabbd4fc63d048be2346a554e5e16fcfbcd75709304bad934");
  // And so is what it gives: lengths of the pieces of a stream that is a formula too.
  std::vector<size_t> sizes;
  for (const std::string& chunk : cut(random_bytes(8 << 20, 7))) sizes.push_back(chunk.size());
  EXPECT_EQ(sizes, (std::vector<size_t>{1268057, 1310115, 1273422, 1265242, 1251188, 1180795, 839789}));
}

TEST(Chunker, NothingIsLostAndSizesHold) {
  for (size_t size : {size_t{0}, size_t{1}, kMinChunkBytes, kMinChunkBytes + 1, size_t{30} << 20}) {
    const std::string bytes = random_bytes(size, 1);
    const std::vector<std::string> chunks = cut(bytes);
    EXPECT_EQ(joined(chunks), bytes);
    for (size_t i = 0; i + 1 < chunks.size(); i++) {
      EXPECT_GT(chunks[i].size(), kMinChunkBytes);
      EXPECT_LE(chunks[i].size(), kMaxChunkBytes);
    }
  }
  const size_t many = cut(random_bytes(30 << 20, 1)).size();
  EXPECT_GT(many, 20u);
  EXPECT_LT(many, 40u);
  // Zeros never end a piece by themselves.
  for (const std::string& chunk : cut(std::string(9 << 20, '\0'))) EXPECT_LE(chunk.size(), kMaxChunkBytes);
}

TEST(Chunker, HowItIsGivenChangesNothing) {
  const std::string bytes = random_bytes(6 << 20, 2);
  const std::vector<std::string> whole = cut(bytes);
  for (size_t step : {size_t{1000}, size_t{4096}, kMinChunkBytes, kAverageChunkBytes + 1, size_t{5} << 20})
    EXPECT_EQ(cut(bytes, step), whole) << step;
}

// Bytes put in, taken out or changed anywhere alter a few chunks nearby; all others are found again.
TEST(Chunker, AChangeStaysNearby) {
  const std::string bytes = random_bytes(12 << 20, 3);
  const std::vector<std::string> before = cut(bytes);
  const std::set<std::string> known(before.begin(), before.end());
  std::mt19937_64 random(4);
  size_t most = 0, all = 0;
  for (int round = 0; round < 15; round++) {
    std::string changed = bytes;
    const size_t at = random() % bytes.size(), size = 1 + random() % 5000;
    if (round % 3 == 0) changed.insert(at, random_bytes(size, 100 + static_cast<uint32_t>(round)));
    if (round % 3 == 1) changed.erase(at, size);
    if (round % 3 == 2) changed[at] = static_cast<char>(changed[at] + 1);
    size_t fresh = 0;
    for (const std::string& chunk : cut(changed)) fresh += !known.contains(chunk);
    most = std::max(most, fresh);
    all += fresh;
  }
  EXPECT_LE(most, 8u) << "of " << before.size();
  EXPECT_LE(all, 15u * 3u);
}

}  // namespace
}  // namespace corten::cache
