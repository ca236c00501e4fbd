#include "registry/clean/cleaner.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/digest.h"
#include "base/error.h"
#include "base/json.h"
#include "registry/clean/in_use.h"

namespace corten::registry::clean {
namespace {

constexpr int64_t kNow = 1'700'000'000, kDay = 86'400;

// A repository in memory that can change between two looks at it.
class FakeRepository : public Repository {
 public:
  std::string name() const override { return "example.com/app"; }
  Listing list() override {
    looks++;
    if (before_look) before_look(looks);
    Listing listing{.tags = tags, .is_complete = is_complete};
    if (is_complete)
      for (const auto& [digest, bytes] : manifests)
        listing.manifests.push_back({digest, kNow - 100 * kDay, locked.contains(digest)});
    return listing;
  }
  std::optional<std::string> read_manifest(const std::string& digest) override {
    if (forbidden.contains(digest)) fail(ErrorCode::kPermission, "manifest {}: 403", digest);
    auto at = manifests.find(digest);
    return at == manifests.end() ? std::nullopt : std::optional(at->second);
  }
  std::optional<std::string> read_blob(const std::string& digest, size_t) override {
    auto at = blobs.find(digest);
    return at == blobs.end() ? std::nullopt : std::optional(at->second);
  }
  // Several threads read at once: nothing is made here.
  std::vector<std::string> referrers(const std::string& digest) override {
    const auto at = referring.find(digest);
    return at == referring.end() ? std::vector<std::string>() : at->second;
  }
  void remove(const std::string& digest) override {
    if (undeletable.contains(digest)) fail(ErrorCode::kFailed, "deletion of {}: 500", digest);
    manifests.erase(digest);
    std::erase_if(tags, [&](const auto& tag) { return tag.second == digest; });
    removed.push_back(digest);
  }
  void untag(const std::string& tag) override {
    tags.erase(tag);
    removed.push_back(tag);
  }

  // Both give the digest.
  std::string image(const std::string& name, const std::string& created = "") {
    std::string config = Json::object({{"created", created}}).dump() + name;
    if (!created.empty()) config = Json::object({{"created", created}, {"comment", name}}).dump();
    blobs[Digest::of(config).to_string()] = config;
    return put(Json::object(
        {{"schemaVersion", 2},
         {"config", Json::object({{"digest", Digest::of(config).to_string()}, {"size", 10}})},
         {"layers", Json(Json::Array{Json::object({{"digest", "sha256:" + name}, {"size", 1000}})})}}));
  }
  std::string index(const std::vector<std::string>& children) {
    Json manifests_json = Json::array();
    for (const std::string& child : children)
      manifests_json.push_back(Json::object({{"digest", child}, {"size", 1}}));
    return put(Json::object({{"schemaVersion", 2}, {"manifests", manifests_json}}));
  }
  std::string put(const Json& json) {
    std::string bytes = json.dump(), digest = Digest::of(bytes).to_string();
    manifests[digest] = bytes;
    return digest;
  }

  std::map<std::string, std::string> tags, manifests, blobs;
  std::map<std::string, std::vector<std::string>> referring;
  std::set<std::string> locked, forbidden, undeletable;
  std::vector<std::string> removed;
  std::function<void(int)> before_look;
  bool is_complete = true;
  int looks = 0;
};

struct Pass {
  Snapshot snapshot;
  Plan plan;
  Cleaned cleaned;
};
Pass clean(FakeRepository& repository, const Rules& rules) {
  FakeClock clock(kNow * 1'000'000'000);
  Pass run;
  run.snapshot = read_snapshot(repository, rules);
  run.plan = plan_cleaning(run.snapshot, rules, clock.now_s());
  run.cleaned = carry_out(repository, rules, run.snapshot, run.plan, clock, [](const Verdict&) {});
  return run;
}

TEST(Cleaner, DeletesIndexesBeforeTheirChildrenAndNothingElse) {
  FakeRepository r;
  std::string a = r.image("a"), b = r.image("b"), c = r.image("c");
  std::string old = r.index({a, b}), now = r.index({b, c});
  r.tags = {{"pr-1", old}, {"latest", now}};
  Pass run = clean(r, {.tags = {"pr-*"}});
  EXPECT_EQ(r.removed, (std::vector<std::string>{old, a}));
  EXPECT_EQ(run.cleaned.removed, 2u);
  EXPECT_TRUE(run.cleaned.kept.empty() && run.cleaned.failed.empty());
  EXPECT_EQ(r.looks, 3);  // once for the plan, once for each deletion
}

// The race that destroys: a tag is moved to what is about to be deleted, after the plan was made.
TEST(Cleaner, ATagThatMovedMeanwhileKeepsWhatItReaches) {
  FakeRepository r;
  std::string a = r.image("a"), b = r.image("b");
  std::string old = r.index({a, b}), other = r.image("other");
  r.tags = {{"pr-1", old}, {"pr-2", other}, {"stable", r.image("stable")}};
  r.before_look = [&](int look) {
    if (look == 2) r.tags["stable"] = old;
  };
  Pass run = clean(r, {.tags = {"pr-*"}});
  EXPECT_EQ(r.removed, std::vector<std::string>{other});
  EXPECT_TRUE(r.manifests.contains(old) && r.manifests.contains(a) && r.manifests.contains(b));
  ASSERT_FALSE(run.cleaned.kept.empty());
  EXPECT_EQ(run.cleaned.kept.front().reason, "tag stable");
}

// A new index, pushed meanwhile, that stands on a child of one that goes.
TEST(Cleaner, ANewIndexKeepsItsChildren) {
  FakeRepository r;
  r.is_complete = false;
  std::string a = r.image("a");
  std::string old = r.index({a});
  r.tags = {{"pr-1", old}};
  r.before_look = [&](int look) {
    if (look == 3) r.tags["v2"] = r.index({a, r.image("b")});
  };
  Pass run = clean(r, {.tags = {"pr-*"}});
  EXPECT_EQ(r.removed, std::vector<std::string>{old});
  EXPECT_TRUE(r.manifests.contains(a));
}

TEST(Cleaner, ATagAloneGoesWithoutItsManifest) {
  FakeRepository r;
  std::string a = r.image("a");
  r.tags = {{"pr-1", a}, {"latest", a}};
  Pass run = clean(r, {.tags = {"pr-*"}});
  EXPECT_EQ(r.removed, std::vector<std::string>{"pr-1"});
  EXPECT_EQ(run.cleaned.untagged, 1u);
  EXPECT_TRUE(r.manifests.contains(a));
}

TEST(Cleaner, WhatCannotBeDeletedIsToldAndTheRestGoesOn) {
  FakeRepository r;
  std::string a = r.image("a"), b = r.image("b");
  r.tags = {{"pr-1", a}, {"pr-2", b}};
  r.undeletable = {a};
  Pass run = clean(r, {.tags = {"pr-*"}});
  EXPECT_EQ(r.removed, std::vector<std::string>{b});
  ASSERT_EQ(run.cleaned.failed.size(), 1u);
  EXPECT_EQ(run.cleaned.failed[0].name, a);
  EXPECT_EQ(run.cleaned.bytes, r.manifests[a].size() + 1010);
}

// A snapshot with a hole in it is none: what the manifest reaches is not known.
TEST(Cleaner, AManifestThatCannotBeReadEndsItAll) {
  FakeRepository r;
  std::string a = r.image("a"), b = r.image("b");
  r.tags = {{"pr-1", a}, {"latest", b}};
  r.forbidden = {b};
  EXPECT_THROW(clean(r, {.tags = {"pr-*"}}), Error);
  r.forbidden.clear();
  r.manifests[b] += " ";  // not the bytes of its digest
  Pass run = clean(r, {.tags = {"pr-*"}});
  EXPECT_EQ(run.plan.blocked_by, b);
  EXPECT_TRUE(r.removed.empty());
}

// No list of untagged manifests: referrers are found by asking, an index in use by its digest.
TEST(Cleaner, WhereOnlyTagsAreListed) {
  FakeRepository r;
  r.is_complete = false;
  std::string a = r.image("a"), shared = r.image("shared");
  std::string old = r.index({a, shared}), in_use = r.index({shared});
  std::string sbom = r.put(Json::object(
      {{"schemaVersion", 2}, {"layers", Json::array()}, {"subject", Json::object({{"digest", a}})}}));
  r.referring[a] = {sbom};
  r.tags = {{"pr-1", old}};
  clean(r, {.tags = {"pr-*"}, .in_use_digests = {in_use}});
  EXPECT_EQ(r.removed, (std::vector<std::string>{old, a, sbom}));
  EXPECT_TRUE(r.manifests.contains(shared));
}

TEST(Cleaner, AgesOfConfigurations) {
  FakeRepository r;
  r.is_complete = false;
  std::string old = r.image("old", "2020-01-01T00:00:00Z"), young = r.image("young", "2023-11-14T00:00:00Z");
  std::string ageless = r.image("ageless", "0001-01-01T00:00:00Z");
  std::string index = r.index({old});
  r.tags = {{"a", index}, {"b", young}, {"c", ageless}};
  clean(r, {.older_than_s = 30 * kDay});
  EXPECT_EQ(r.removed, (std::vector<std::string>{index, old}));
}

TEST(Cleaner, NodesOfAllKinds) {
  Json docker1 = Json::object(
      {{"schemaVersion", 1}, {"fsLayers", Json(Json::Array{Json::object({{"blobSum", "sha256:x"}})})}});
  EXPECT_TRUE(parse_node("sha512:a", docker1.dump()).is_readable);
  EXPECT_FALSE(parse_node("sha512:a", "{}").is_readable);
  EXPECT_FALSE(parse_node("sha512:a", "[]").is_readable);
  EXPECT_FALSE(parse_node("sha512:a", R"({"manifests":"x"})").is_readable);
  EXPECT_FALSE(parse_node("sha512:a", R"({"manifests":[1]})").is_readable);
  EXPECT_FALSE(parse_node("sha512:a", "not JSON").is_readable);
  Node both = parse_node(
      "sha512:a",
      R"({"manifests":[{"digest":"sha256:c"}],"layers":[{"digest":"sha256:l","size":-5}],"subject":{"digest":"sha256:s"}})");
  EXPECT_EQ(both.children, std::vector<std::string>{"sha256:c"});
  EXPECT_EQ(both.subject, "sha256:s");
  EXPECT_EQ(both.blobs.front().second, 0u);
}

TEST(InUse, DigestsAndTagsInManyForms) {
  std::string hex(64, 'a'), other(64, 'b');
  InUse found;
  add_in_use("image: ghcr.io/o/app:v1\n  - image: \"ghcr.io/o/app@sha256:" + hex +
                 "\"\n{\"engine\":\"sha256:" + other +
                 "\"}\nimageID: docker-pullable://ghcr.io/o/app:v3@sha256:" + hex +
                 "\nimage: ghcr.io/o/other:v9\nimage: ghcr.io/o/app\n",
             "ghcr.io/o/app", found);
  EXPECT_EQ(found.digests, (std::set<std::string>{"sha256:" + hex, "sha256:" + other}));
  EXPECT_EQ(found.tags, (std::set<std::string>{"v1", "v3", "latest"}));
  InUse none;
  add_in_use("kind: Service\nsha256:short sha256:" + hex + "f\n", "ghcr.io/o/app", none);
  EXPECT_FALSE(none.names_images);
}

}  // namespace
}  // namespace corten::registry::clean
