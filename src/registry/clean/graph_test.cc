#include "registry/clean/graph.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "base/digest.h"

namespace corten::registry::clean {
namespace {

constexpr int64_t kNow = 1'700'000'000, kDay = 86'400;

std::string digest(std::string_view name) {
  return Digest::of(name).to_string();
}
std::string fallback(std::string_view name) {
  return "sha256-" + Digest::of(name).hex();
}

// A repository, told by names; digests are made of them.
struct Repository {
  Snapshot snapshot;
  Node& add(const std::string& name, int64_t age_days = 100) {
    Node& node = snapshot.nodes[digest(name)];
    node.digest = digest(name);
    node.size = 1000;
    node.pushed_s = kNow - age_days * kDay;
    node.blobs = {{digest("blob of " + name), 1'000'000}};
    return node;
  }
  Node& index(const std::string& name, std::vector<std::string> children, int64_t age_days = 100) {
    Node& node = add(name, age_days);
    node.blobs.clear();
    for (const std::string& child : children) node.children.push_back(digest(child));
    return node;
  }
  void tag(const std::string& tag, const std::string& name) { snapshot.tags[tag] = digest(name); }
};

Plan plan(const Repository& repository, const Rules& rules) {
  return plan_cleaning(repository.snapshot, rules, kNow);
}
bool goes(const Plan& plan, const std::string& name) {
  return std::find(plan.removals.begin(), plan.removals.end(), digest(name)) != plan.removals.end();
}
std::string why(const Plan& plan, const std::string& name) {
  for (const Verdict& verdict : plan.manifests)
    if (verdict.name == digest(name)) return verdict.reason;
  return "?";
}
bool is_before(const Plan& plan, const std::string& a, const std::string& b) {
  auto at = [&](const std::string& name) {
    return std::find(plan.removals.begin(), plan.removals.end(), digest(name));
  };
  return at(a) < at(b);
}

// What every other cleaner got wrong once: platforms and attestations of a tagged index are untagged.
TEST(CleanGraph, UntaggedIsNotUnreachable) {
  Repository r;
  r.add("amd64"), r.add("arm64"), r.add("attestation"), r.add("orphan");
  r.index("app", {"amd64", "arm64", "attestation"});
  r.tag("latest", "app");
  Plan p = plan(r, {.untagged = true});
  EXPECT_EQ(p.removals, std::vector<std::string>{digest("orphan")});
  EXPECT_EQ(why(p, "arm64"), "in the index sha256:" + Digest::of("app").short_hex());
  EXPECT_EQ(p.bytes, 1'001'000u);
}

TEST(CleanGraph, SignaturesOfKeptImagesStayHoweverTheyAreKept) {
  Repository r;
  r.add("amd64");
  r.index("app", {"amd64"});
  r.tag("latest", "app");
  r.add("referrer").subject = digest("app");
  r.add("of child").subject = digest("amd64");
  r.add("signature");
  r.tag(fallback("amd64") + ".sig", "signature");
  r.add("listed");
  r.index("list", {"listed"});
  r.tag(fallback("app"), "list");
  r.add("attestation of a signature").subject = digest("signature");
  Plan p = plan(r, {.tags = {"sha256-*", "*.sig"}, .untagged = true});
  EXPECT_TRUE(p.removals.empty());
  EXPECT_TRUE(p.untags.empty());
}

TEST(CleanGraph, WhatBelongsToADeletedTagGoesWithIt) {
  Repository r;
  r.add("shared"), r.add("own");
  r.index("old", {"shared", "own"}), r.index("new", {"shared"});
  r.tag("pr-1", "old"), r.tag("main", "new");
  r.add("signature"), r.tag(fallback("own") + ".sig", "signature");
  r.add("sbom").subject = digest("old");
  r.add("orphan");
  Plan p = plan(r, {.tags = {"pr-*"}});
  for (const char* name : {"old", "own", "signature", "sbom"}) EXPECT_TRUE(goes(p, name)) << name;
  for (const char* name : {"shared", "new", "orphan"}) EXPECT_FALSE(goes(p, name)) << name;
  EXPECT_EQ(why(p, "orphan"), "untagged, and no rule is about those");
  EXPECT_TRUE(is_before(p, "old", "own"));
  EXPECT_TRUE(is_before(p, "own", "signature"));
  EXPECT_TRUE(is_before(p, "old", "sbom"));
}

// One manifest, two tags: DELETE by digest would take both.
TEST(CleanGraph, ATagGoesAloneWhenItsManifestStays) {
  Repository r;
  r.add("app");
  r.tag("pr-1", "app"), r.tag("v1", "app");
  Plan p = plan(r, {.tags = {"pr-*"}});
  EXPECT_TRUE(p.removals.empty());
  EXPECT_EQ(p.untags, std::vector<std::string>{"pr-1"});
}

TEST(CleanGraph, AgeAndNumber) {
  Repository r;
  for (int i = 1; i <= 5; i++) {
    r.add("v" + std::to_string(i), 10 * i);
    r.tag("v" + std::to_string(i), "v" + std::to_string(i));
  }
  r.add("unknown").pushed_s.reset();
  r.tag("v9", "unknown");
  EXPECT_EQ(plan(r, {.keep_last = 2}).removals.size(), 3u);
  EXPECT_EQ(plan(r, {.older_than_s = 25 * kDay}).removals.size(), 3u);
  Plan both = plan(r, {.older_than_s = 15 * kDay, .keep_last = 3});
  EXPECT_EQ(both.removals.size(), 2u);
  EXPECT_TRUE(goes(both, "v5") && goes(both, "v4"));
  EXPECT_EQ(both.tags.back().reason, "its age is not known");
  EXPECT_EQ(plan(r, {.keep_last = 0}).removals.size(), 5u);
}

// "Untagged, older than" takes no release away.
TEST(CleanGraph, AnAgeBesideUntaggedIsAboutUntagged) {
  Repository r;
  r.add("old release"), r.add("old orphan"), r.add("young orphan", 2);
  r.tag("v1", "old release");
  Plan p = plan(r, {.older_than_s = 30 * kDay, .untagged = true});
  EXPECT_EQ(p.removals, std::vector<std::string>{digest("old orphan")});
  EXPECT_TRUE(goes(plan(r, {.tags = {"*"}, .older_than_s = 30 * kDay, .untagged = true}), "old release"));
}

TEST(CleanGraph, WhatIsInUseStays) {
  Repository r;
  r.add("deployed"), r.add("other"), r.add("by config").blobs.emplace_back("sha256:config", 5);
  r.tag("a", "deployed"), r.tag("b", "other"), r.tag("c", "by config");
  Plan p =
      plan(r, {.tags = {"*"}, .in_use_digests = {digest("deployed"), "sha256:config"}, .in_use_tags = {"b"}});
  EXPECT_TRUE(p.removals.empty());
  EXPECT_EQ(why(p, "deployed"), "in use");
  // Nor does its last tag: a registry's own garbage collection would find it untagged.
  EXPECT_TRUE(p.untags.empty());
  EXPECT_EQ(p.tags[0].reason, "what it names stays: in use");
}

TEST(CleanGraph, YoungLockedAndForeignOnesStay) {
  Repository r;
  r.add("just pushed").pushed_s = kNow - 60;
  r.add("locked").is_locked = true;
  r.add("signature of an image elsewhere");
  r.tag(fallback("elsewhere") + ".sig", "signature of an image elsewhere");
  Plan p = plan(r, {.tags = {"*"}, .untagged = true});
  EXPECT_TRUE(p.removals.empty());
  EXPECT_EQ(why(p, "just pushed"), "pushed a moment ago: its index or tag may be on its way");
}

// Who deletes the tag of an SBOM does not mean the image.
TEST(CleanGraph, ATaggedReferrerIsNotItsSubject) {
  Repository r;
  r.add("app");
  r.add("sbom").subject = digest("app");
  r.tag("sbom-1", "sbom");
  Plan p = plan(r, {.tags = {"sbom-*"}});
  EXPECT_TRUE(p.removals.empty());
  EXPECT_FALSE(goes(plan(r, {.tags = {"v*"}, .untagged = true}), "app"));
}

TEST(CleanGraph, AnUnreadableManifestThatStaysStopsAll) {
  Repository r;
  r.add("strange").is_readable = false;
  r.add("orphan"), r.add("old");
  r.tag("latest", "strange"), r.tag("pr-1", "old");
  Plan p = plan(r, {.tags = {"pr-*"}, .untagged = true});
  EXPECT_EQ(p.blocked_by, digest("strange"));
  EXPECT_TRUE(p.removals.empty() && p.untags.empty());
  // One that goes stops nothing.
  r.tag("latest", "old"), r.tag("pr-1", "strange");
  EXPECT_TRUE(goes(plan(r, {.tags = {"pr-*"}}), "strange"));
}

TEST(CleanGraph, TagsOfReferrers) {
  std::string hex(64, 'a');
  EXPECT_EQ(subject_of_tag("sha256-" + hex), "sha256:" + hex);
  for (const char* suffix : {".sig", ".att", ".sbom"})
    EXPECT_EQ(subject_of_tag("sha256-" + hex + suffix), "sha256:" + hex);
  for (const std::string& tag :
       {std::string("latest"), "sha256-" + hex.substr(1), "sha256-" + hex + ".sig.sig",
        "sha256-" + std::string(64, 'G'), "md5-" + hex, std::string("sha-1234567"), std::string()})
    EXPECT_EQ(subject_of_tag(tag), "") << tag;
}

// --- any graph ---

struct Random {
  std::mt19937 bits;
  explicit Random(unsigned seed) : bits(seed) {}
  int below(int n) { return static_cast<int>(bits() % static_cast<unsigned>(n)); }
  bool one_in(int n) { return below(n) == 0; }
};

std::string name_of(int i) {
  return "m" + std::to_string(i);
}

Repository any_repository(Random& random) {
  Repository r;
  int count = 1 + random.below(14);
  for (int i = 0; i < count; i++) {
    Node& node = r.add(name_of(i), random.below(60));
    if (random.one_in(5)) node.pushed_s.reset();
    if (random.one_in(12)) node.pushed_s = kNow - random.below(7200);
    if (random.one_in(15)) node.is_locked = true;
    if (random.one_in(40)) node.is_readable = false;
    // Any direction, cycles too: subjects may point anywhere, and digests from strangers may lie.
    while (random.one_in(2)) node.children.push_back(digest(name_of(random.below(count + 2))));
    if (random.one_in(4)) node.subject = digest(name_of(random.below(count + 2)));
  }
  for (int i = random.below(8); i > 0; i--)
    r.tag((random.one_in(2) ? "pr-" : "v") + std::to_string(i), name_of(random.below(count)));
  for (int i = random.below(4); i > 0; i--)
    r.tag(fallback(name_of(random.below(count + 2))) + (random.one_in(2) ? "" : ".sig"),
          name_of(random.below(count)));
  return r;
}

Rules any_rules(Random& random, const Repository& r) {
  Rules rules;
  if (random.one_in(2)) rules.tags = {random.one_in(3) ? "*" : "pr-*"};
  if (random.one_in(3)) rules.older_than_s = random.below(60) * kDay;
  if (random.one_in(3)) rules.keep_last = random.below(4);
  rules.untagged = random.one_in(2);
  for (const auto& [name, node] : r.snapshot.nodes)
    if (random.one_in(10)) rules.in_use_digests.insert(name);
  for (const auto& [tag, target] : r.snapshot.tags)
    if (random.one_in(10)) rules.in_use_tags.insert(tag);
  return rules;
}

// What must stay when `kept` stays, found in the plainest way: again and again, until nothing is new.
std::set<std::string> closure(const Repository& r, std::set<std::string> kept) {
  for (size_t before = 0; before != kept.size();) {
    before = kept.size();
    for (const auto& [name, node] : r.snapshot.nodes) {
      if (kept.contains(name)) {
        kept.insert(node.children.begin(), node.children.end());
        if (!node.subject.empty()) kept.insert(node.subject);
      }
      if (kept.contains(node.subject)) kept.insert(name);
    }
    for (const auto& [tag, target] : r.snapshot.tags)
      if (kept.contains(subject_of_tag(tag))) kept.insert(target);
  }
  return kept;
}

TEST(CleanGraph, NothingReachableFromWhatStaysIsEverDeleted) {
  size_t deleted = 0, blocked = 0;
  for (unsigned seed = 0; seed < 6000; seed++) {
    SCOPED_TRACE(seed);
    Random random(seed);
    Repository r = any_repository(random);
    Rules rules = any_rules(random, r);
    Plan p = plan(r, rules);
    std::set<std::string> removed(p.removals.begin(), p.removals.end());
    ASSERT_EQ(removed.size(), p.removals.size()) << "twice";
    deleted += removed.size();
    blocked += !p.blocked_by.empty();

    // Roots, found again: tags that stay, what is used, what is locked.
    std::set<std::string> roots = rules.in_use_digests;
    for (const Verdict& tag : p.tags)
      if (!tag.is_deleted) roots.insert(r.snapshot.tags.at(tag.name));
    for (const auto& [tag, target] : r.snapshot.tags)
      if (subject_of_tag(tag).empty() && (!rules.names_tags() || rules.in_use_tags.contains(tag) ||
                                          (rules.tags == std::vector<std::string>{"pr-*"} && tag[0] == 'v')))
        roots.insert(target);
    for (const auto& [name, node] : r.snapshot.nodes)
      if (node.is_locked || (!removed.contains(name))) roots.insert(name);
    for (const std::string& name : closure(r, roots)) ASSERT_FALSE(removed.contains(name)) << name;

    // A verdict on each, with a reason; order; no rules, no deletions.
    ASSERT_EQ(p.manifests.size(), r.snapshot.nodes.size());
    ASSERT_EQ(p.tags.size(), r.snapshot.tags.size());
    for (const Verdict& verdict : p.manifests) {
      ASSERT_FALSE(verdict.reason.empty());
      ASSERT_EQ(verdict.is_deleted, removed.contains(verdict.name));
    }
    for (const Verdict& verdict : p.tags) {
      bool alone = std::find(p.untags.begin(), p.untags.end(), verdict.name) != p.untags.end();
      ASSERT_FALSE(verdict.reason.empty());
      ASSERT_EQ(verdict.is_deleted, alone || removed.contains(r.snapshot.tags.at(verdict.name)));
    }
    bool may_delete = (rules.names_tags() || rules.untagged) && p.blocked_by.empty();
    ASSERT_TRUE(may_delete || (removed.empty() && p.untags.empty()));

    // More in use never deletes more.
    Rules more = rules;
    if (!removed.empty()) {
      more.in_use_digests.insert(*removed.begin());
      Plan smaller = plan(r, more);
      for (const std::string& name : smaller.removals) ASSERT_TRUE(removed.contains(name));
      ASSERT_FALSE(std::count(smaller.removals.begin(), smaller.removals.end(), *removed.begin()));
    }
  }
  EXPECT_GT(deleted, 3000u) << "the graphs delete too little to show anything";
  EXPECT_GT(blocked, 50u);
}

// Where there are no circles an index goes before its children, a subject before what refers to it.
TEST(CleanGraph, OrderOfDeletions) {
  for (unsigned seed = 0; seed < 1000; seed++) {
    SCOPED_TRACE(seed);
    Random random(seed);
    Repository r;
    int count = 2 + random.below(12);
    for (int i = 0; i < count; i++) {
      Node& node = r.add(name_of(i));
      for (int j = i + 1; j < count; j++)
        if (random.one_in(4)) node.children.push_back(digest(name_of(j)));
      if (i > 0 && random.one_in(3)) node.subject = digest(name_of(random.below(i)));
    }
    Plan p = plan(r, {.untagged = true});
    ASSERT_EQ(p.removals.size(), static_cast<size_t>(count));
    std::map<std::string, size_t> place;
    for (size_t i = 0; i < p.removals.size(); i++) place[p.removals[i]] = i;
    for (const auto& [name, node] : r.snapshot.nodes) {
      for (const std::string& child : node.children) ASSERT_LT(place[name], place[child]);
      ASSERT_TRUE(node.subject.empty() || place[node.subject] < place[name]);
    }
  }
}

}  // namespace
}  // namespace corten::registry::clean
