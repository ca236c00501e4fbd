#include "archive/gz1_cutter.h"

#include <gtest/gtest.h>

#include "archive/random_bytes_test.h"

namespace corten::archive::gz1 {
namespace {

constexpr size_t kKiB = 1024;

std::vector<std::string> cut_plain(std::string_view bytes, size_t step) {
  std::vector<std::string> chunks;
  Cutter cutter([&](std::string chunk) { chunks.push_back(std::move(chunk)); });
  for (size_t at = 0; at < bytes.size(); at += step) cutter.write(bytes.substr(at, step));
  cutter.finish();
  return chunks;
}

struct File {
  size_t size;
  uint64_t seed;
};

// A stand-in for a tar: a 512-byte header, content, padding, by number.
std::vector<std::string> cut_files(const std::vector<File>& files, size_t step = SIZE_MAX) {
  std::vector<std::string> chunks;
  Cutter cutter([&](std::string chunk) { chunks.push_back(std::move(chunk)); });
  for (const File& file : files) {
    cutter.member_begins();
    cutter.write("header " + std::to_string(file.seed) +
                 random_bytes(512 - 7 - std::to_string(file.seed).size(), file.seed));
    if (file.size) cutter.data_begins(file.size);
    std::string content = text_bytes(file.size, file.seed);
    content.resize((content.size() + 511) / 512 * 512);
    for (size_t at = 0; at < content.size();) {
      size_t part = std::min(step, content.size() - at);
      cutter.write(std::string_view(content).substr(at, part));
      at += part;
    }
  }
  cutter.write(std::string(1024, '\0'));
  cutter.finish();
  return chunks;
}

std::vector<size_t> sizes(const std::vector<std::string>& chunks) {
  std::vector<size_t> result;
  for (const std::string& chunk : chunks) result.push_back(chunk.size());
  return result;
}

size_t count_new(const std::vector<std::string>& before, const std::vector<std::string>& after) {
  return static_cast<size_t>(std::count_if(after.begin(), after.end(), [&](const std::string& chunk) {
    return std::find(before.begin(), before.end(), chunk) == before.end();
  }));
}

TEST(Cutter, KeepsAllBytesAndItsBounds) {
  std::string bytes = random_bytes(5'000'000);
  std::vector<std::string> chunks = cut_plain(bytes, bytes.size());
  std::string joined;
  for (size_t i = 0; i < chunks.size(); i++) {
    joined += chunks[i];
    EXPECT_LE(chunks[i].size(), kMaxChunkBytes);
    EXPECT_TRUE(i + 1 == chunks.size() || chunks[i].size() >= 256 * kKiB);
  }
  EXPECT_EQ(joined, bytes);
  EXPECT_GT(chunks.size(), 6u);
  EXPECT_TRUE(cut_plain("", 1).empty());
}

TEST(Cutter, DoesNotDependOnHowBytesArrive) {
  std::string bytes = random_bytes(3'000'000, 5);
  std::vector<std::string> chunks = cut_plain(bytes, bytes.size());
  for (size_t step : {size_t{77}, size_t{4096}, size_t{131072}, size_t{999'999}})
    EXPECT_EQ(cut_plain(bytes, step), chunks) << step;
  std::vector<File> files;
  for (uint64_t i = 1; i <= 60; i++) files.push_back({static_cast<size_t>(i * 7919 % 60'000), i});
  files.push_back({700'000, 100});
  files.push_back({300'001, 101});
  EXPECT_EQ(cut_files(files, 1000), cut_files(files));
}

TEST(Cutter, PaddingIsNoPlaceToCut) {
  EXPECT_EQ(sizes(cut_plain(std::string(2'500'000, '\0'), 100'000)),
            (std::vector<size_t>{kMaxChunkBytes, kMaxChunkBytes, 2'500'000 - 2 * kMaxChunkBytes}));
}

TEST(Cutter, CutsAtMembers) {
  std::vector<File> files;
  for (uint64_t i = 1; i <= 300; i++) files.push_back({10'000, i});
  std::vector<std::string> chunks = cut_files(files);
  ASSERT_GT(chunks.size(), 4u);
  for (const std::string& chunk : chunks) EXPECT_EQ(chunk.substr(0, 7), "header ");
}

TEST(Cutter, BigFilesHaveTheirOwnChunks) {
  std::vector<std::string> chunks = cut_files({{20'000, 1}, {400'000, 2}, {300'000, 3}, {100, 4}});
  std::vector<std::string> alone = cut_files({{400'000, 2}});
  // Headers and the small file; the big file; its neighbour's header joined to the neighbour; the rest.
  EXPECT_EQ(chunks[0].size(), 512u + 20'480 + 512);
  std::string content = text_bytes(400'000, 2);
  EXPECT_EQ(chunks[1].substr(0, 1000), content.substr(0, 1000));
  EXPECT_EQ(chunks.back().size(), 512u + 512 + 1024);
  EXPECT_EQ(alone[0].substr(0, 7), "header ");  // too small a chunk to stand alone
  EXPECT_EQ(alone.back().size(), 1024u);
}

TEST(Cutter, AChangeStaysWhereItWasMade) {
  std::vector<File> files;
  Random random(3);
  for (uint64_t i = 1; i <= 200; i++) files.push_back({random.below(50'000), i});
  std::vector<std::string> before = cut_files(files);
  size_t total = 0;
  for (size_t changed : {20, 100, 150}) {
    std::vector<File> others = files;
    others[changed].size += 3000;
    total += count_new(before, cut_files(others));
  }
  EXPECT_LE(total, 5u);
}

TEST(Cutter, IsFrozen) {
  std::string list;
  for (size_t size : sizes(cut_plain(random_bytes(4'000'000, 9), 65'536))) list += std::to_string(size) + " ";
  EXPECT_EQ(list, "711050 616485 357216 422142 484554 334620 508567 565366 ");
  list.clear();
  std::vector<File> files;
  for (uint64_t i = 1; i <= 80; i++) files.push_back({static_cast<size_t>(i * 7919 % 60'000), i});
  files.push_back({700'000, 100});
  for (size_t size : sizes(cut_files(files))) list += std::to_string(size) + " ";
  EXPECT_EQ(list, "481280 728576 612352 523776 93184 700416 1024 ");
}

}  // namespace
}  // namespace corten::archive::gz1
