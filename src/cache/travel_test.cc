// From a store to a place and into another store: exports.h, imports.h, travel.h.
#include "cache/travel.h"

#include <gtest/gtest.h>

#include <map>

#include "base/error.h"
#include "base/temp_dir.h"
#include "cache/memory_place_test.h"
#include "image/layer_blobs.h"

namespace corten::cache {
namespace {

store::Entry file(std::string_view path, std::string_view text) {
  store::Entry e;
  e.path = RootfsPath(path);
  e.mode = 0644;
  e.size = text.size();
  e.content = Digest::of(text);
  return e;
}

class TravelTest : public testing::Test {
 protected:
  // A layer of one file in that store, as a step gave it.
  static store::LayerRef make_layer(store::Store& store, const std::string& text) {
    store.contents().add_bytes(text);
    return {store.layers().save(store::Manifest({file("f", text)})), 1000};
  }
  static Digest key(const std::string& name) { return Digest::of("key of " + name); }
  Exported export_steps(const std::vector<std::string>& names, ExportOptions options = {.is_max = true}) {
    store::Store& from = *stores_.emplace_back(std::make_unique<store::Store>(next_store()));
    Export out(from, place_, options);
    for (const std::string& name : names) out.add(key(name), "RUN " + name, make_layer(from, name), {});
    return out.finish();
  }
  std::shared_ptr<Imports> import(store::Store& into) {
    auto imports = std::make_shared<Imports>(
        into, std::vector<std::shared_ptr<Place>>{place_},
        ImportWatch{.ended = [this](const std::string&, const std::string& error) { read_error_ = error; },
                    .warn = [this](const std::string& text) { warnings_.push_back(text); }});
    into.layers().set_supply(make_supply(
        into, [this](const std::string& name) { return name == place_->name() ? place_ : nullptr; },
        imports));
    return imports;
  }
  std::string next_store() { return dir_ / ("store-" + std::to_string(stores_.size())); }
  store::Store& empty_store() { return *stores_.emplace_back(std::make_unique<store::Store>(next_store())); }

  TempDir dir_ = TempDir::for_test();
  std::shared_ptr<MemoryPlace> place_ = std::make_shared<MemoryPlace>();
  std::vector<std::unique_ptr<store::Store>> stores_;
  std::vector<std::string> warnings_;
  std::string read_error_;
};

TEST_F(TravelTest, AStepIsFoundAndItsLayerIsFetchedWhenItIsNeeded) {
  const Exported exported = export_steps({"a", "b"});
  EXPECT_EQ(exported.entries, 2u);
  store::Store& here = empty_store();
  auto imports = import(here);
  auto action = imports->find(key("a"));
  ASSERT_TRUE(action);
  EXPECT_EQ(action->layer.time, 1000);
  EXPECT_TRUE(here.find_action(key("a")));
  EXPECT_FALSE(here.layers().is_whole(action->layer.id));
  EXPECT_EQ(place_->calls["fetch_blob"], 0);
  here.layers().need({action->layer.id});
  EXPECT_EQ(place_->calls["fetch_blob"], 1);
  EXPECT_EQ(here.contents().read(Digest::of("a"), 10), "a");
  EXPECT_EQ(imports->traffic().fetched_layers, 1u);
  EXPECT_FALSE(imports->find(key("nobody's")));
  EXPECT_TRUE(warnings_.empty());
}

TEST_F(TravelTest, WhatIsThereIsNotSentAgain) {
  export_steps({"a", "b"});
  const int puts = place_->puts;
  const Exported again = export_steps({"a", "b"});
  EXPECT_EQ(place_->puts, puts);
  EXPECT_EQ(place_->calls["put_manifest"], 1);
  EXPECT_EQ(again.entries, 2u);
}

// A lifecycle rule took a blob: whoever made the step again brings it back, and drops what else named it.
TEST_F(TravelTest, WhatWasLostThereComesBackWithTheNextBuild) {
  export_steps({"a", "b"});
  const Entry entry = *Index::read(*place_)->find(key("a"));
  place_->blobs.erase(entry.blobs.at(0).blob.digest);
  export_steps({"a"});
  EXPECT_FALSE(place_->blobs.contains(entry.blobs.at(0).blob.digest)) << "a hit asks for nothing";
  store::Store& from = empty_store();
  Export out(from, place_, {.is_max = true});
  out.add(key("a"), "RUN a", make_layer(from, "a"), {}, true);
  out.finish();
  EXPECT_TRUE(place_->blobs.contains(entry.blobs.at(0).blob.digest));
  EXPECT_TRUE(Index::read(*place_)->find(key("b")));
}

// Of two caches the one that has the bytes.
TEST_F(TravelTest, AnEntryWithItsBytesIsPreferred) {
  export_steps({"a"}, {.is_max = false});
  auto without_bytes =
      std::exchange(place_, std::make_shared<MemoryPlace>("registry example.com/other:cache"));
  export_steps({"a"});
  store::Store& here = empty_store();
  Imports imports(here, {without_bytes, place_}, {});
  auto action = imports.find(key("a"));
  ASSERT_TRUE(action);
  EXPECT_EQ(here.layers().places(action->layer.id).size(), 1u);
}

TEST_F(TravelTest, EntriesOfOthersStay) {
  export_steps({"a"});
  export_steps({"b"});
  EXPECT_EQ(export_steps({"c"}).entries, 3u);
  store::Store& here = empty_store();
  auto imports = import(here);
  for (const char* name : {"a", "b", "c"}) EXPECT_TRUE(imports->find(key(name))) << name;
}

// Between our reading and our writing another writes: both are there in the end.
TEST_F(TravelTest, TwoThatWriteAtOnceLoseNothing) {
  bool has_met = false;
  place_->after_put = [&] {
    if (std::exchange(has_met, true)) return;
    // It had read the state before ours.
    Contents other;
    Entry entry{.key = key("theirs"),
                .step = "RUN theirs",
                .layer = {Digest::of("l"), 1},
                .manifest = {},
                .blobs = {}};
    entry.manifest = oci::describe(kLayerManifestType, "m");
    place_->blobs[entry.manifest.digest] = "m";
    other.entries.emplace(entry.key, entry);
    write_index(other, *place_, [](const Digest&) { return false; });
  };
  export_steps({"ours"});
  auto index = Index::read(*place_);
  ASSERT_TRUE(index);
  EXPECT_TRUE(index->find(key("ours")));
  EXPECT_TRUE(index->find(key("theirs")));
}

// Of a large layer two small files: a few chunks are asked for, and the layer stays where it is.
TEST_F(TravelTest, SingleFilesComeWithoutTheirLayer) {
  std::string large(6'000'000, 'x');
  uint64_t state = 1;
  for (char& c : large) c = static_cast<char>((state = state * 6364136223846793005u + 1) >> 56);
  std::string middle = large.substr(1'000'000, 700'000);
  store::Store& from = *stores_.emplace_back(std::make_unique<store::Store>(next_store()));
  std::vector<store::Entry> entries;
  for (const auto& [path, text] : std::map<std::string, std::string>{
           {"a", "small"}, {"b", large}, {"c", middle}, {"d", large.substr(7)}, {"e", "last"}}) {
    from.contents().add_bytes(text);
    entries.push_back(file(path, text));
  }
  const store::LayerRef layer{from.layers().save(store::Manifest(entries)), 1000};
  Export out(from, place_, {.is_max = true});
  out.add(key("large"), "RUN large", layer, {});
  out.finish();

  for (const bool is_damaged : {false, true}) {
    store::Store& here = empty_store();
    auto imports = import(here);
    here.layers().set_supply(make_supply(
                                 here, [this](const std::string&) { return place_; }, imports),
                             make_file_supply(here, imports));
    ASSERT_TRUE(imports->find(key("large")));
    auto tree = here.layers().tree({layer});
    std::vector<const store::Entry*> wanted;
    for (const char* path : {"a", "c", "e"}) wanted.push_back(tree->find(RootfsPath(path)));
    place_->parts = 0;
    place_->calls.clear();
    if (is_damaged)
      place_->fault = [&](const std::string& call) {
        if (call == "read_part") fail(ErrorCode::kIo, "no ranges here");
      };
    tree->ingest(wanted);
    place_->fault = {};
    EXPECT_EQ(here.contents().read(Digest::of("small"), 10), "small");
    EXPECT_EQ(here.contents().read(Digest::of(middle), 1'000'000), middle);
    EXPECT_EQ(here.contents().read(Digest::of("last"), 10), "last");
    EXPECT_EQ(here.layers().is_absent(layer.id), !is_damaged);
    EXPECT_EQ(place_->calls["fetch_blob"], is_damaged ? 1 : 0);
    if (!is_damaged) {
      EXPECT_LT(place_->parts, 4'000'000u);
    }
  }
}

TEST_F(TravelTest, WithoutABlobAStepIsAHitAndItsLayerIsLost) {
  export_steps({"a"}, {.is_max = false});
  store::Store& here = empty_store();
  auto imports = import(here);
  auto action = imports->find(key("a"));
  ASSERT_TRUE(action);
  EXPECT_THROW(here.layers().need({action->layer.id}), Error);
  EXPECT_FALSE(here.find_action(key("a")));
  EXPECT_FALSE(imports->find(key("a"))) << "what was lost is not given again";
  EXPECT_TRUE(warnings_.empty()) << "nothing is wrong with the cache";
}

TEST_F(TravelTest, EveryFailureIsAMissAndOneWarning) {
  export_steps({"a", "b", "c"});
  int passes = 0;
  for (const std::string call : {"manifest", "read_blob", "fetch_blob"})
    for (int nth = 0; nth < 4; nth++) {
      warnings_.clear();
      read_error_.clear();
      store::Store& here = empty_store();
      int seen = 0;
      place_->fault = [&](const std::string& what) {
        if (what == call && seen++ == nth) fail(ErrorCode::kIo, "the network is down");
      };
      auto imports = import(here);
      for (const char* name : {"a", "b", "c"}) {
        auto action = imports->find(key(name));
        if (!action) continue;
        try {
          here.layers().need({action->layer.id});
          EXPECT_EQ(here.contents().read(Digest::of(name), 10), name);
        } catch (const Error& error) {
          EXPECT_EQ(error.code(), ErrorCode::kLost);
        }
      }
      if (seen > nth) {
        EXPECT_EQ(warnings_.size() + (read_error_.empty() ? 0 : 1), 1u) << call << " " << nth;
      }
      passes++;
      place_->fault = {};
    }
  EXPECT_EQ(passes, 12);
}

// Who writes a cache does not say which hosts its readers ask.
TEST_F(TravelTest, ACacheSendsNobodyElsewhere) {
  export_steps({"a"});
  Contents contents = Index::read(*place_)->all();
  contents.entries.at(key("a")).blobs.at(0).place = "registry metadata.internal/x";
  write_index(contents, *place_, [](const Digest&) { return false; });
  store::Store& here = empty_store();
  auto imports = import(here);
  auto action = imports->find(key("a"));
  ASSERT_TRUE(action);
  EXPECT_TRUE(here.layers().places(action->layer.id).empty());
  store::Store& other = empty_store();
  imports = import(other);
  action = imports->find(key("a"), {}, "registry docker.io/library/debian");
  ASSERT_EQ(other.layers().places(action->layer.id).size(), 1u);
  EXPECT_EQ(other.layers().places(action->layer.id)[0].place, "registry docker.io/library/debian");
}

// What the store knows of a layer that it has is not a cache's to change.
TEST_F(TravelTest, ACacheSaysNothingOfLayersThatAreHere) {
  export_steps({"a"});
  Contents contents = Index::read(*place_)->all();
  contents.entries.at(key("a")).blobs.at(0).diff.diff_id = {Digest::of("another tar")};
  write_index(contents, *place_, [](const Digest&) { return false; });
  store::Store& here = empty_store();
  const store::LayerRef layer = make_layer(here, "a");
  auto imports = import(here);
  ASSERT_TRUE(imports->find(key("a")));
  EXPECT_FALSE(here.layers().find_diff(layer));
}

// Of an image that is named by mistake nothing is overwritten.
TEST_F(TravelTest, AnImageThatCarriesACacheIsNoPlaceForAnother) {
  const Json carried = inline_cache({InlineStep{key("x"), "RUN x", {Digest::of("l"), 1}, 1}});
  Json diff_ids = Json::array();
  diff_ids.push_back(Digest::of("t").to_string());
  const std::string config =
      Json::object({{"architecture", "amd64"},
                    {"os", "linux"},
                    {"config", Json::object()},
                    {"rootfs", Json::object({{"type", "layers"}, {"diff_ids", std::move(diff_ids)}})},
                    {std::string(kInlineMember), carried}})
          .dump();
  oci::Manifest image;
  image.config = oci::describe("application/vnd.oci.image.config.v1+json", config);
  image.layers.push_back(oci::describe("application/vnd.oci.image.layer.v1.tar+gzip", "blob"));
  place_->blobs[image.config.digest] = config;
  const std::string before = oci::emit_manifest(image);
  place_->put_manifest(before);
  EXPECT_THROW(export_steps({"a"}), Error);
  EXPECT_EQ(place_->manifest(), before);
}

TEST_F(TravelTest, WrongBytesAreAMiss) {
  export_steps({"a"});
  auto index = Index::read(*place_);
  const Entry entry = *index->find(key("a"));
  place_->blobs[entry.manifest.digest] = compress("corten-layer-1\nsomething else");
  store::Store& here = empty_store();
  EXPECT_FALSE(import(here)->find(key("a")));
  ASSERT_EQ(warnings_.size(), 1u);
  EXPECT_NE(warnings_[0].find("another digest"), std::string::npos);
}

// Of a layer that was not fetched its diff id is the cache's word. Whoever reads the tar sees that it is not
// true: then the layer is forgotten, the step is executed, and the true one counts.
TEST_F(TravelTest, AWrongDiffIdIsAMissAndOneWarning) {
  export_steps({"a"});
  const Entry right = *Index::read(*place_)->find(key("a"));
  Contents contents = Index::read(*place_)->all();
  LayerBlobRecord& record = contents.entries.at(key("a")).blobs.at(0);
  record.diff.diff_id = {Digest::of("another tar")};
  write_index(contents, *place_, [](const Digest&) { return false; });
  store::Store& here = empty_store();
  auto imports = import(here);
  auto action = imports->find(key("a"));
  ASSERT_TRUE(action);
  const store::LayerRef layer{action->layer.id, record.time};
  ASSERT_EQ(here.layers().find_diff(layer)->diff_id, record.diff.diff_id);
  try {
    image::ensure_blob(layer, {}, 1, here, {});
    FAIL() << "it was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kLost) << error.what();
  }
  ASSERT_EQ(warnings_.size(), 1u);
  EXPECT_NE(warnings_[0].find("has another digest; building without it"), std::string::npos) << warnings_[0];
  EXPECT_FALSE(here.find_action(key("a")));
  EXPECT_FALSE(imports->find(key("a"))) << "what was lost is not given again";
  // The step's own layer is the same, and its tar what it is.
  EXPECT_EQ(make_layer(here, "a").id, layer.id);
  EXPECT_EQ(image::ensure_blob(layer, {}, 1, here, {}).digest, right.blobs.at(0).blob.digest);
  EXPECT_EQ(here.layers().find_diff(layer)->diff_id, right.blobs.at(0).diff.diff_id);
  EXPECT_EQ(warnings_.size(), 1u);
}

// The same, where all its files are here already, or a step made the layer: nothing is fetched, nothing lost.
TEST_F(TravelTest, AWrongDiffIdOfWhatIsHereIsForgotten) {
  export_steps({"a"});
  const Entry right = *Index::read(*place_)->find(key("a"));
  Contents contents = Index::read(*place_)->all();
  LayerBlobRecord& record = contents.entries.at(key("a")).blobs.at(0);
  record.diff.diff_id = {Digest::of("another tar")};
  write_index(contents, *place_, [](const Digest&) { return false; });
  for (const bool is_made : {false, true}) {
    store::Store& here = empty_store();
    auto imports = import(here);
    auto action = imports->find(key("a"));
    ASSERT_TRUE(action);
    const store::LayerRef layer{action->layer.id, record.time};
    if (is_made)
      make_layer(here, "a");
    else
      here.contents().add_bytes("a");
    EXPECT_EQ(image::ensure_blob(layer, {}, 1, here, {}).digest, right.blobs.at(0).blob.digest);
    EXPECT_EQ(here.layers().find_diff(layer)->diff_id, right.blobs.at(0).diff.diff_id);
    EXPECT_TRUE(here.find_action(key("a")));
  }
  EXPECT_TRUE(warnings_.empty());
  EXPECT_EQ(place_->calls["fetch_blob"], 0);
}

// What is right is not made a second time: the tar was hashed when it was read.
TEST_F(TravelTest, ARightDiffIdStays) {
  export_steps({"a"});
  store::Store& here = empty_store();
  auto imports = import(here);
  auto action = imports->find(key("a"));
  ASSERT_TRUE(action);
  here.layers().need({action->layer.id});
  const Entry entry = *Index::read(*place_)->find(key("a"));
  const LayerBlobRecord& record = entry.blobs.at(0);
  auto diff = here.layers().find_diff({action->layer.id, record.time});
  ASSERT_TRUE(diff);
  EXPECT_EQ(diff->diff_id, record.diff.diff_id);
}

TEST_F(TravelTest, AnExportThatFailsLeavesTheCacheAsItWas) {
  export_steps({"a"});
  place_->fault = [](const std::string& what) {
    if (what == "put_blob") fail(ErrorCode::kIo, "no room there");
  };
  EXPECT_THROW(export_steps({"b"}), Error);
  place_->fault = {};
  auto index = Index::read(*place_);
  EXPECT_TRUE(index->find(key("a")));
  EXPECT_FALSE(index->find(key("b")));
}

TEST_F(TravelTest, WhenTheTimeIsOverWhatIsThereIsWritten) {
  place_->fault = [](const std::string& what) {
    if (what == "put_blob") usleep(30'000);
  };
  const Exported exported =
      export_steps({"a", "b", "c", "d"}, {.is_max = true, .timeout_s = 0, .transfers = 1});
  place_->fault = {};
  EXPECT_EQ(exported.entries, 4u);
  EXPECT_GT(exported.late, 0u);
  auto index = Index::read(*place_);
  EXPECT_TRUE(index->find(key("d"))) << "a step without its bytes is still a hit";
}

TEST_F(TravelTest, TheLeastUsedGoFirst) {
  Contents contents;
  for (int i = 0; i < 10; i++) {
    Entry entry{
        .key = key(std::to_string(i)), .step = "", .layer = {}, .manifest = {}, .blobs = {}, .used_day = i};
    entry.manifest = {.media_type = "x/y", .digest = Digest::of(std::to_string(i)), .size = 100};
    contents.entries.emplace(entry.key, entry);
  }
  contents.shrink(350);
  EXPECT_EQ(contents.entries.size(), 3u);
  for (int i : {7, 8, 9}) EXPECT_TRUE(contents.entries.contains(key(std::to_string(i))));
}

TEST_F(TravelTest, ManyEntriesLieInShardsAndAreReadWhenAskedFor) {
  Contents contents;
  const oci::Descriptor blob = oci::describe("x/y", "m");
  for (int i = 0; i < 2000; i++) {
    Entry entry{.key = key(std::to_string(i)),
                .step = "s",
                .layer = {Digest::of("l"), i},
                .manifest = blob,
                .blobs = {}};
    contents.entries.emplace(entry.key, entry);
  }
  write_index(contents, *place_, [](const Digest&) { return false; });
  auto index = Index::read(*place_);
  place_->calls.clear();
  EXPECT_EQ(index->find(key("7"))->layer.time, 7);
  EXPECT_EQ(place_->calls["read_blob"], 1);
  EXPECT_EQ(index->all(), contents);
}

TEST_F(TravelTest, HostileIndexesAreRefused) {
  for (const std::string& text : std::vector<std::string>{
           "{}", "{\"entries\":[{}]}", "{\"entries\":[{\"key\":\"xx\"}]}", "{\"entries\":7}", "[]", ""})
    EXPECT_THROW(unpack_entries(compress(text)), Error) << text;
  EXPECT_THROW(unpack_entries("no zstd"), Error);
  EXPECT_THROW(expand(compress(std::string(100'000, 'x')), 1000, "it"), Error);
}

}  // namespace
}  // namespace corten::cache
