#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/beneath.h"
#include "base/error.h"
#include "store/store.h"

namespace corten::store {
namespace {

class AbsentLayersTest : public testing::Test {
 protected:
  static Entry file(std::string_view path, std::string_view text) {
    Entry e;
    e.path = RootfsPath(path);
    e.mode = 0644;
    e.uid = geteuid();
    e.gid = getegid();
    e.size = text.size();
    e.content = Digest::of(text);
    return e;
  }
  static LayerPlace place(const std::string& name) { return {name, "tar", Digest::of(name), name.size()}; }
  // Absent, and recorded as what a step gave.
  LayerRef absent(std::vector<Entry> entries, const std::vector<LayerPlace>& places) {
    LayerRef layer{store_.layers().save_absent(Manifest(std::move(entries)), places), 7};
    store_.record_action({Digest::of("key"), "exact", layer, "{}"});
    return layer;
  }
  ErrorCode code_of(const std::function<void()>& f) {
    try {
      f();
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kInternal;
  }

  TempDir dir_ = TempDir::for_test();
  Store store_{dir_ / "store"};
};

TEST_F(AbsentLayersTest, IsKnownAndFetchedWhenADirectoryIsAskedFor) {
  std::atomic<int> fetches = 0;
  store_.layers().set_supply([&](const Digest&, const Manifest& manifest, const std::vector<LayerPlace>& at) {
    fetches++;
    EXPECT_EQ(at.size(), 1u);
    EXPECT_EQ(at[0].place, "cache");
    EXPECT_EQ(at[0].blob, Digest::of("cache"));
    EXPECT_TRUE(manifest.find(RootfsPath("a")));
    store_.contents().add_bytes("hello");
  });
  LayerRef layer = absent({file("a", "hello")}, {place("cache")});
  EXPECT_TRUE(store_.layers().has(layer.id));
  EXPECT_FALSE(store_.layers().is_whole(layer.id));
  EXPECT_TRUE(store_.find_action(Digest::of("key")));
  EXPECT_EQ(fetches, 0);

  HostPath body = store_.layers().directory(layer, {});
  EXPECT_EQ(read_file(body.value + "/a", 100), "hello");
  EXPECT_TRUE(store_.layers().is_whole(layer.id));
  store_.layers().need({layer});
  EXPECT_EQ(fetches, 1);
}

TEST_F(AbsentLayersTest, TheSameLayerIsFetchedOnceByManyThreads) {
  std::atomic<int> fetches = 0;
  store_.layers().set_supply([&](const Digest&, const Manifest&, const std::vector<LayerPlace>&) {
    fetches++;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    store_.contents().add_bytes("x");
  });
  LayerRef layer = absent({file("x", "x")}, {place("cache")});
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; i++) threads.emplace_back([&] { store_.layers().need({layer}); });
  }
  EXPECT_EQ(fetches, 1);
}

TEST_F(AbsentLayersTest, WhatNobodyGivesIsForgottenWithItsActions) {
  store_.layers().set_supply([](const Digest&, const Manifest&, const std::vector<LayerPlace>&) {
    fail(ErrorCode::kNotFound, "the registry has no such blob");
  });
  LayerRef layer = absent({file("a", "nowhere")}, {place("cache")});
  EXPECT_EQ(code_of([&] { store_.layers().need({layer}); }), ErrorCode::kLost);
  EXPECT_FALSE(store_.layers().has(layer.id));
  EXPECT_FALSE(store_.find_action(Digest::of("key")));
  // Who did not see that it went is told the same.
  EXPECT_EQ(code_of([&] { store_.layers().need({layer}); }), ErrorCode::kLost);
}

TEST_F(AbsentLayersTest, ASupplyThatGivesTooLittleIsALoss) {
  store_.layers().set_supply([&](const Digest&, const Manifest&, const std::vector<LayerPlace>&) {
    store_.contents().add_bytes("first");  // and not the second
  });
  LayerRef layer = absent({file("a", "first"), file("b", "second")}, {place("cache")});
  EXPECT_EQ(code_of([&] { store_.layers().need({layer}); }), ErrorCode::kLost);
}

TEST_F(AbsentLayersTest, WithoutAPlaceOnlyContentsThatAreHereHelp) {
  LayerRef lost = absent({file("a", "gone")}, {});
  EXPECT_EQ(code_of([&] { store_.layers().need({lost}); }), ErrorCode::kLost);
  store_.contents().add_bytes("here");
  LayerRef found = absent({file("a", "here")}, {});
  store_.layers().need({found});
  EXPECT_TRUE(store_.layers().is_whole(found.id));
}

TEST_F(AbsentLayersTest, AStepThatMakesTheLayerMakesItWhole) {
  Manifest manifest({file("a", "made")});
  LayerRef layer = absent({file("a", "made")}, {place("cache")});
  store_.make_durable();
  store_.contents().add_bytes("made");
  store_.layers().save(manifest);
  EXPECT_TRUE(store_.layers().is_whole(layer.id));
  EXPECT_TRUE(store_.layers().places(layer.id).empty());
  // What came after the barrier is not durable: a crash of the machine may take it.
  Statement row = store_.database().prepare("SELECT boot IS NULL FROM layers WHERE id=?");
  row.bind(layer.id);
  ASSERT_TRUE(row.step());
  EXPECT_EQ(row.integer(0), 0);
}

TEST_F(AbsentLayersTest, AWholeLayerIsNotMadeAbsent) {
  store_.contents().add_bytes("whole");
  Digest id = store_.layers().save(Manifest({file("a", "whole")}));
  EXPECT_EQ(store_.layers().save_absent(Manifest({file("a", "whole")}), {place("cache")}), id);
  EXPECT_TRUE(store_.layers().is_whole(id));
}

// Two builds, one layer: one fetches it while the other, which cannot, forgets it.
TEST_F(AbsentLayersTest, WhatAnotherForgetsWhileItIsFetchedIsWholeAllTheSame) {
  LayerRef layer = absent({file("a", "contested")}, {place("cache")});
  Store other(dir_ / "store");
  store_.layers().set_supply([&](const Digest&, const Manifest&, const std::vector<LayerPlace>&) {
    EXPECT_EQ(code_of([&] { other.layers().need({layer}); }), ErrorCode::kLost);
    store_.contents().add_bytes("contested");
  });
  store_.layers().need({layer});
  EXPECT_TRUE(store_.layers().is_whole(layer.id));
  EXPECT_TRUE(other.layers().has(layer.id));
}

TEST_F(AbsentLayersTest, OnlyLayersThatHaveTheFilesAreFetched) {
  std::vector<Digest> fetched;
  store_.layers().set_supply(
      [&](const Digest& layer, const Manifest& manifest, const std::vector<LayerPlace>&) {
        fetched.push_back(layer);
        store_.contents().add_bytes(manifest.find(RootfsPath("1")) ? "one" : "two");
      });
  Digest one = store_.layers().save_absent(Manifest({file("1", "one")}), {place("cache")});
  Digest two = store_.layers().save_absent(Manifest({file("2", "two")}), {place("cache")});
  Rootfs stack = {{one, 1}, {two, 2}};
  auto tree = store_.layers().tree(stack);
  const Entry* wanted = tree->find(RootfsPath("2"));
  tree->ingest(std::vector<const Entry*>{wanted});
  EXPECT_EQ(fetched, std::vector<Digest>{two});
  store_.layers().need_for(stack, {RootfsPath("1")});
  EXPECT_EQ(fetched, (std::vector<Digest>{two, one}));
}

TEST_F(AbsentLayersTest, FsckTakesItForWhatItIs) {
  absent({file("a", "elsewhere")}, {place("cache")});
  EXPECT_TRUE(store_.check(false).empty());
  Store::Pruned pruned = store_.prune({});
  EXPECT_TRUE(store_.check(false).empty());
}

}  // namespace
}  // namespace corten::store
