#include "image/layer_records.h"

#include <gtest/gtest.h>

namespace corten::image {
namespace {

std::vector<Checkpoint> some(size_t count) {
  std::vector<Checkpoint> all;
  Sha256 hash;
  for (size_t i = 0; i < count; i++) {
    hash.update(std::string(512, static_cast<char>(i)));
    all.push_back({i + 1, (i + 1) * 512, hash});
  }
  return all;
}

TEST(LayerRecords, CheckpointsRoundTrip) {
  std::string text = checkpoints_text(some(3));
  std::vector<Checkpoint> read = parse_checkpoints(text);
  ASSERT_EQ(read.size(), 3u);
  EXPECT_EQ(checkpoints_text(read), text);
  EXPECT_EQ(read[2].offset, 1536u);
  EXPECT_EQ(read[2].hash.finish(), some(3)[2].hash.finish());
}

TEST(LayerRecords, ADamagedCheckpointEndsTheList) {
  std::string text = checkpoints_text(some(3));
  size_t one = text.size() / 3;
  // Entry, offset, and what the hash says that it has seen.
  for (size_t at : {one + 0, one + 8, one + 9, one + 16 + 32, one + 16 + 39}) {
    std::string bad = text;
    bad[at] = static_cast<char>(bad[at] ^ 0x40);
    EXPECT_LE(parse_checkpoints(bad).size(), at == one ? 2u : 1u) << at;
  }
  EXPECT_EQ(parse_checkpoints(text.substr(0, text.size() - 1)).size(), 2u);
}

TEST(LayerRecords, ARecipeThatClaimsTooMuchIsNone) {
  archive::GzipResult blob;
  blob.chunks = {{1 << 20, 1000, 1, 2}, {5, 7, 3, 4}};
  std::string text = recipe_of(blob);
  EXPECT_EQ(parse_recipe(text), blob.chunks);
  EXPECT_TRUE(parse_recipe(text + "x").empty());
  for (auto claim : {archive::ChunkRecord{0xffffffff, 1, 0, 0}, archive::ChunkRecord{1, 0xffffffff, 0, 0}}) {
    blob.chunks[1] = claim;
    EXPECT_TRUE(parse_recipe(recipe_of(blob)).empty());
  }
}

}  // namespace
}  // namespace corten::image
