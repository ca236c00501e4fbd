#include "image/layer_reuse.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "base/beneath.h"
#include "base/error.h"
#include "image/layer_blobs.h"
#include "image/layers_ahead.h"

namespace corten::image {
namespace {

constexpr int64_t kTime = 1'000'000'000;

// Text that compresses, other for each seed.
std::string text(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::string bytes;
  while (bytes.size() < size)
    bytes += "word" + std::to_string(random() % 5000) + ((random() % 9) ? " " : "\n");
  bytes.resize(size);
  return bytes;
}

class LayerReuseTest : public testing::Test {
 protected:
  using Files = std::map<std::string, std::string>;

  store::LayerRef save(const Files& files, store::Store& store) {
    std::vector<store::Entry> entries;
    for (const auto& [path, bytes] : files) {
      store::Entry e;
      e.path = RootfsPath(path);
      e.mode = 0644;
      e.size = bytes.size();
      e.content = store.contents().add_bytes(bytes);
      entries.push_back(std::move(e));
    }
    return {store.layers().save(store::Manifest(std::move(entries))), kTime};
  }

  // Diff id and blob in a store that never saw another version.
  std::pair<Digest, Digest> fresh(const Files& files) {
    TempDir dir = TempDir::for_test();
    store::Store store(dir / "store");
    return made(save(files, store), store);
  }
  static std::pair<Digest, Digest> made(const store::LayerRef& layer, store::Store& store) {
    Digest diff = ensure_diff(layer, store).diff_id.digest;
    return {diff, ensure_blob(layer, {}, 2, store).digest};
  }

  TempDir dir_ = TempDir::for_test();
  store::Store store_{dir_ / "store"};
  Digest family_ = Digest::of("family");
};

size_t any_size(std::mt19937& random) {
  switch (random() % 8) {
    case 0:
      return 0;
    case 1:
      return 200'000 + random() % 400'000;
    case 2:
      return random() % 20 ? 60'000 : 1'500'000;
    default:
      return random() % 12'000;
  }
}

TEST_F(LayerReuseTest, AChangedLayerIsTheSameAsOneMadeAnew) {
  std::mt19937 random(5);
  Files files;
  for (int i = 0; i < 150; i++)
    files["d" + std::to_string(i % 9) + "/f" + std::to_string(i)] = text(any_size(random), random());
  for (int round = 0; round < 8; round++) {
    store::LayerRef layer = save(files, store_);
    store_.layers().succeed(family_, layer);
    ASSERT_EQ(made(layer, store_), fresh(files)) << "round " << round;
    for (size_t changes = random() % 3 + 1; changes > 0; changes--) {
      auto at = std::next(files.begin(), static_cast<long>(random() % files.size()));
      switch (random() % 4) {
        case 0:
          files.erase(at);
          break;
        case 1:
          files[at->first + "-new"] = text(any_size(random), random());
          break;
        case 2:
          at->second += "grown";
          break;
        default:
          at->second = text(at->second.size(), random());
      }
    }
  }
}

TEST_F(LayerReuseTest, ReadsNothingThatTheEarlierVersionHas) {
  Files files;
  for (uint32_t i = 0; i < 400; i++) files["f" + std::to_string(1000 + i)] = text(20'000, i);
  store::LayerRef first = save(files, store_);
  store_.layers().succeed(family_, first);
  made(first, store_);
  std::string unchanged = files["f1010"];
  files["f1200"] += "x";
  store::LayerRef second = save(files, store_);
  store_.layers().succeed(family_, second);
  // Far from the change: neither the hash of the tar nor a chunk needs it.
  ASSERT_EQ(unlink(store_.contents().path(Digest::of(unchanged)).c_str()), 0);
  EXPECT_EQ(made(second, store_), fresh(files));
}

TEST_F(LayerReuseTest, ADamagedEarlierBlobIsNotUsed) {
  Files files;
  for (uint32_t i = 0; i < 400; i++) files["f" + std::to_string(1000 + i)] = text(20'000, i);
  store::LayerRef first = save(files, store_);
  store_.layers().succeed(family_, first);
  std::string path = store_.blob_path(made(first, store_).second);
  std::string bytes = read_file(path);
  bytes[5000] ^= 1;
  write_file_atomic(path, bytes);
  files["f1390"] += "x";
  store::LayerRef second = save(files, store_);
  store_.layers().succeed(family_, second);
  EXPECT_EQ(made(second, store_), fresh(files));
}

TEST_F(LayerReuseTest, AContentThatChangedOnTheDiskGoesIntoNoBlob) {
  Files files;
  for (uint32_t i = 0; i < 200; i++) files["f" + std::to_string(1000 + i)] = text(20'000, i);
  store::LayerRef first = save(files, store_);
  store_.layers().succeed(family_, first);
  made(first, store_);
  files["f1100"] += "x";
  store::LayerRef second = save(files, store_);
  store_.layers().succeed(family_, second);
  ensure_diff(second, store_);
  std::string other = files["f1100"];
  other[7] ^= 1;
  write_file_atomic(store_.contents().path(Digest::of(files["f1100"])), other);
  EXPECT_THROW(ensure_blob(second, {}, 2, store_), Error);
}

TEST_F(LayerReuseTest, AnotherTimeIsAnotherTar) {
  Files files{{"a", text(3'000'000, 1)}, {"b", text(5000, 2)}};
  store::LayerRef first = save(files, store_);
  store_.layers().succeed(family_, first);
  made(first, store_);
  files["b"] = "changed";
  store::LayerRef second = save(files, store_);
  second.time++;
  store_.layers().succeed(family_, second);
  EXPECT_NE(made(second, store_), fresh(files));
}

// In one pass, or by way of the diff id: the same digests, and the same to take up again.
TEST_F(LayerReuseTest, WhatIsMadeAheadIsTheSame) {
  Files files;
  for (uint32_t i = 0; i < 400; i++) files["f" + std::to_string(1000 + i)] = text(20'000, i);
  store::LayerRef first = save(files, store_);
  store_.layers().succeed(family_, first);
  LayersAhead ahead(store_, {.blobs = Compression(), .threads = 2});
  ahead.add(first);
  ahead.add(first);
  ahead.finish();
  ASSERT_TRUE(store_.layers().find_diff(first));
  EXPECT_EQ(made(first, store_), fresh(files));
  TempDir dir = TempDir::for_test();
  store::Store other(dir / "store");
  ensure_diff(save(files, other), other);
  EXPECT_FALSE(store_.layers().find_checkpoints(first).empty());
  EXPECT_EQ(store_.layers().find_checkpoints(first), other.layers().find_checkpoints(first));
  files["f1200"] += "x";
  store::LayerRef second = save(files, store_);
  store_.layers().succeed(family_, second);
  ahead.add(second);
  ahead.finish();
  ASSERT_TRUE(store_.layers().find_diff(second));
  EXPECT_EQ(made(second, store_), fresh(files));
}

TEST_F(LayerReuseTest, ACancelledBuildMakesNothingAhead) {
  store::LayerRef layer = save({{"a", text(3'000'000, 1)}}, store_);
  Cancellation cancellation;
  cancellation.cancel();
  LayersAhead ahead(store_, {.blobs = {}, .threads = 2, .cancellation = cancellation});
  ahead.add(layer);
  ahead.finish();
  EXPECT_FALSE(store_.layers().find_diff(layer));
  EXPECT_THROW(ensure_diff(layer, store_, cancellation), Error);
}

}  // namespace
}  // namespace corten::image
