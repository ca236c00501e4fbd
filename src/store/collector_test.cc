#include "store/collector.h"

#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <thread>

#include "base/beneath.h"
#include "base/error.h"
#include "store/limits.h"
#include "store/shelves.h"
#include "store/store.h"

namespace corten::store {

class CollectorTest : public testing::Test {
 protected:
  static std::string text(char c) { return std::string(100'000, c); }

  static Entry file(std::string_view path, const std::string& bytes, Store& store) {
    Entry e;
    e.path = RootfsPath(path);
    e.mode = 0644;
    e.uid = geteuid();
    e.gid = getegid();
    e.size = bytes.size();
    e.content = store.contents().add_bytes(bytes);
    return e;
  }

  // A step that gave a layer with one file, used at `used`.
  Digest step(char c, int64_t used, Store& store) {
    Digest layer = store.layers().save(Manifest({file("f", text(c), store)}));
    store.record_action({Digest::of(std::string(1, c)), "exact", {layer, 7}, "{\"step\":\"run\"}"});
    store.database()
        .prepare("UPDATE actions SET used=? WHERE key=?")
        .bind(used)
        .bind(Digest::of(std::string(1, c)))
        .run();
    return layer;
  }
  Digest step(char c, int64_t used) {
    Store store(path());
    return step(c, used, store);
  }
  // Without using it.
  bool has_step(char c) {
    Store store(path());
    for (const Action& action : store.actions())
      if (action.key == Digest::of(std::string(1, c))) return true;
    return false;
  }
  bool has_content(char c) { return Store(path()).contents().exists(Digest::of(text(c))); }
  std::string path() const { return dir_ / "store"; }

  Collected collect(CollectOptions options) {
    Store store(path());
    return Collector(store).collect(options);
  }
  static CollectOptions everything() {
    CollectOptions options;
    options.may_go = [](const CacheRecord&) { return true; };
    options.all = true;
    return options;
  }
  uint64_t size() {
    Store store(path());
    return store.usage().contents;
  }

  TempDir dir_ = TempDir::for_test();
};

TEST_F(CollectorTest, TheLongestUnusedGoesFirstAndNoMoreThanIsAsked) {
  step('a', 300), step('b', 100), step('c', 200);
  CollectOptions options;
  options.may_go = [](const CacheRecord&) { return true; };
  uint64_t total = collect({}).total_before;
  EXPECT_TRUE(has_step('b')) << "without a wish nothing that is remembered goes";
  options.max_bytes = total - 10'000;
  options.only_plan = true;
  EXPECT_EQ(collect(options).records.size(), 1u);
  EXPECT_TRUE(has_step('b'));
  options.only_plan = false;
  Collected collected = collect(options);
  ASSERT_EQ(collected.records.size(), 1u);
  EXPECT_GE(collected.bytes, 100'000u);
  EXPECT_TRUE(has_step('a') && has_step('c'));
  EXPECT_FALSE(has_step('b') || has_content('b'));
  options.max_bytes = 1;
  options.reserved_bytes = total;
  EXPECT_EQ(collect(options).records.size(), 0u) << "what is reserved stays";
}

TEST_F(CollectorTest, AUseCounts) {
  step('a', 100), step('b', 200);
  EXPECT_TRUE(Store(path()).find_action(Digest::of("a")));  // its store ends, and notes the use
  std::vector<CacheRecord> records;
  {
    Store store(path());
    records = Collector(store).records();
  }
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].id, Digest::of("b").hex());
  EXPECT_EQ(records[0].type, "regular");
  EXPECT_GE(records[0].bytes, 100'000u);
}

TEST_F(CollectorTest, WhatARunningCommandHoldsStays) {
  Store running(path());
  step('a', 1, running);
  step('b', 2);
  Digest loose = running.contents().add_bytes(text('l'));  // no manifest names it yet
  Digest lost = Store(path()).contents().add_bytes(text('m'));
  collect(everything());
  EXPECT_TRUE(has_step('a'));
  EXPECT_FALSE(has_step('b'));
  EXPECT_TRUE(running.contents().exists(loose));
  EXPECT_FALSE(running.contents().exists(lost));
  EXPECT_TRUE(running.check(false).empty());
  running.lease().end();
  collect(everything());
  EXPECT_FALSE(has_step('a'));
  EXPECT_FALSE(has_content('l'));
}

TEST_F(CollectorTest, WhatIsFoundAfterItWasHeldStaysWholeHoweverTheyMeet) {
  // One takes everything away again and again; the other looks steps up, and makes them again when they are
  // gone. What it was told is there must be there.
  for (char c = 'a'; c < 'g'; c++) step(c, c);
  std::atomic<bool> stop = false;
  std::thread collecting([&] {
    while (!stop) collect(everything());
  });
  for (int round = 0; round < 150; round++) {
    Store store(path());
    for (char c = 'a'; c < 'g'; c++) {
      auto action = store.find_action(Digest::of(std::string(1, c)));
      Digest layer = action ? action->layer.id : step(c, round, store);
      auto manifest = store.layers().load(layer);
      for (const Entry& e : manifest->entries())
        ASSERT_NO_THROW(store.contents().open(e.content)) << "round " << round << " of " << c;
      if (c == 'c' && geteuid() == 0) {
        HostPath body = store.layers().directory({layer, 7}, {});
        ASSERT_TRUE(path_exists(body.value + "/f")) << "round " << round;
      }
    }
  }
  stop = true;
  collecting.join();
  Store store(path());
  EXPECT_TRUE(store.check(false).empty());
}

TEST_F(CollectorTest, ImagesKeepTheirLayersUntilTheyGo) {
  Digest id;
  {
    Store store(path());
    Image image;
    image.config = "{}";
    image.id = id = Digest::of(image.config);
    image.layers = {{step('a', 1, store), 7}};
    store.save_image(image);
  }
  CollectOptions limited = everything();
  limited.may_go = [](const CacheRecord& r) { return r.kind != CacheRecord::Kind::kImage; };
  collect(limited);
  EXPECT_TRUE(has_content('a'));
  EXPECT_FALSE(has_step('a'));
  CollectOptions options;
  options.images = {id};
  collect(options);
  EXPECT_FALSE(has_content('a'));
  Store store(path());
  EXPECT_FALSE(store.image_by_id(id));
  EXPECT_FALSE(store.has_blob(id));
}

TEST_F(CollectorTest, AnImageThatSomebodyLooksAtStays) {
  Store store(path());
  Image image;
  image.config = "{}";
  image.id = Digest::of(image.config);
  {
    Store maker(path());
    image.layers = {{step('a', 1, maker), 7}};
    maker.save_image(image);
  }
  ASSERT_TRUE(store.image_by_id(image.id));
  CollectOptions options = everything();
  options.images = {image.id};
  collect(options);
  EXPECT_TRUE(store.image_by_id(image.id));
  EXPECT_TRUE(has_content('a'));
}

// With memory that is overwritten when it is freed: what the collector knows of a layer is read while it is
// there.
TEST_F(CollectorTest, AllFilesOfALayerStay) {
  Digest layer = [&] {
    Store store(path());
    std::vector<Entry> entries;
    for (char c = 'a'; c <= 'z'; c++) entries.push_back(file(std::string(1, c), std::string(100, c), store));
    return store.layers().save(Manifest(std::move(entries)));
  }();
  Store store(path());
  store.set_other_roots([layer] { return std::vector<Digest>{layer}; });
  mallopt(M_PERTURB, 0xff);
  Collector(store).collect(everything());
  mallopt(M_PERTURB, 0);
  for (char c = 'a'; c <= 'z'; c++)
    EXPECT_TRUE(store.contents().exists(Digest::of(std::string(100, c)))) << c;
}

TEST_F(CollectorTest, OtherRootsStay) {
  Digest a = step('a', 1);
  step('b', 1);
  Store store(path());
  store.set_other_roots([&] { return std::vector<Digest>{a}; });
  Collector(store).collect(everything());
  EXPECT_TRUE(has_content('a'));
  EXPECT_FALSE(has_content('b'));
}

TEST_F(CollectorTest, CacheMountsGoByLastUseAndNotWhileTheyAreUsed) {
  auto mount = [&](const char* id) {
    Store store(path());
    std::string directory = store.cache_mount_directory(id, "shared", "0:0");
    write_file_atomic(directory + "/data", text('x'));
    return directory;
  };
  std::string a = mount("a"), b = mount("b");
  Store running(path());
  running.cache_mount_directory("a");
  Collected collected = collect(everything());
  EXPECT_TRUE(path_exists(a));
  EXPECT_FALSE(path_exists(b));
  ASSERT_EQ(collected.records.size(), 1u);
  EXPECT_EQ(collected.records[0].description, "b");
  EXPECT_EQ(collected.records[0].sharing, "shared");
}

TEST_F(CollectorTest, AContentThatLivesInABodyMovesOutWhenTheBodyGoes) {
  const std::string big(400'000, 'x');
  Digest digest = Digest::of(big);
  std::string body;
  {
    Store store(path());
    Digest one = store.layers().save(Manifest({file("f", big, store)}));
    Digest other = store.layers().save(Manifest({file("g", big, store), file("h", text('h'), store)}));
    store.record_action({Digest::of("one"), "exact", {one, 7}, "{}"});
    store.record_action({Digest::of("other"), "exact", {other, 7}, "{}"});
    body = store.layers().directory({one, 7}, {}).value;
  }
  struct stat st;
  ASSERT_EQ(lstat(Store(path()).contents().path(digest).c_str(), &st), 0);
  ASSERT_TRUE(S_ISLNK(st.st_mode)) << "its home is the body";
  uint64_t before = collect({}).total_before;
  CollectOptions bodies = everything();
  bodies.may_go = [](const CacheRecord& r) { return r.kind == CacheRecord::Kind::kDirectory; };
  Collected collected = collect(bodies);
  ASSERT_EQ(collected.records.size(), 1u);
  EXPECT_LT(collected.bytes, 100'000u) << "what stays is not counted as freed";
  EXPECT_FALSE(path_exists(body));
  {
    Store store(path());
    EXPECT_EQ(store.contents().read(digest, SIZE_MAX), big);
    EXPECT_TRUE(store.check(false).empty());
  }
  EXPECT_LE(collect({}).total_before, before);
  // And with the layer whose body it is.
  {
    Store again(path());
    again.layers().directory(again.find_action(Digest::of("one"))->layer, {});
  }
  CollectOptions one = everything();
  one.may_go = [](const CacheRecord& r) { return r.id == Digest::of("one").hex(); };
  EXPECT_EQ(collect(one).records.size(), 1u);
  EXPECT_FALSE(path_exists(body));
  Store last(path());
  EXPECT_EQ(last.contents().read(digest, SIZE_MAX), big);
  EXPECT_TRUE(last.check(false).empty());
}

TEST_F(CollectorTest, TwoCollectTakeTurns) {
  for (char c = 'a'; c < 'k'; c++) step(c, c);
  std::thread one([&] { collect(everything()); }), other([&] { collect(everything()); });
  one.join();
  other.join();
  EXPECT_LT(size(), 100'000u);
  Store store(path());
  EXPECT_TRUE(store.check(false).empty());
}

TEST_F(CollectorTest, AKilledCollectorLeavesWhatTheNextTakes) {
  Digest a = step('a', 1);
  // The row is gone, the files are not: as after a kill between the two.
  Store(path()).database().execute("DELETE FROM actions; DELETE FROM layers");
  EXPECT_TRUE(has_content('a'));
  collect({});
  EXPECT_FALSE(has_content('a'));
  EXPECT_FALSE(Store(path()).layers().has(a));
}

TEST_F(CollectorTest, ALimitIsKeptOrRefused) {
  for (char c = 'a'; c < 'k'; c++) step(c, c);
  Store store(path());
  uint64_t before = store.usage().limited();
  std::mutex mutex;
  std::vector<std::string> refusals;
  size_t went = 0;
  Limits limits{.max_bytes = before - 300'000, .min_free_bytes = 0};
  {
    LimitKeeper keeper(
        store, limits,
        [&](const Error& error) {
          std::lock_guard lock(mutex);
          refusals.emplace_back(error.what());
        },
        [&](const Collected& collected) { went += collected.records.size(); });
    EXPECT_EQ(keeper.finish(true), "");
  }
  EXPECT_LE(store.usage().limited(), limits.max_bytes);
  EXPECT_GT(went, 0u);
  EXPECT_TRUE(has_step('j'));
  for (char c = 'a'; c < 'k'; c++) step(c, c, store);  // held by us
  limits.max_bytes = 100'000;
  {
    LimitKeeper keeper(
        store, limits,
        [&](const Error& error) {
          std::lock_guard lock(mutex);
          refusals.emplace_back(error.what());
        },
        [](const Collected&) {});
    for (int i = 0; i < 200; i++) {
      {
        std::lock_guard lock(mutex);
        if (!refusals.empty()) break;
      }
      usleep(50'000);
    }
  }
  ASSERT_EQ(refusals.size(), 1u);
  EXPECT_NE(refusals[0].find("are more than its limit of 100kB"), std::string::npos) << refusals[0];
}

}  // namespace corten::store
