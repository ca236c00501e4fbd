#include "store/delta.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "store/tree.h"

namespace corten::store {
namespace {

Entry entry(std::string_view path, EntryType type) {
  Entry e;
  e.path = RootfsPath(path);
  e.type = type;
  e.mode = type == EntryType::kWhiteout ? 0 : 0755;
  return e;
}

Entry file(std::string_view path, std::string_view text) {
  Entry e = entry(path, EntryType::kFile);
  e.content = Digest::of(text);
  e.size = text.size();
  return e;
}

Entry directory(std::string_view path) {
  return entry(path, EntryType::kDirectory);
}

std::shared_ptr<const Manifest> shared(Manifest manifest) {
  return std::make_shared<const Manifest>(std::move(manifest));
}

// All that is seen, with the number of names that each file has.
std::map<std::string, std::string> seen(const Tree& tree) {
  std::map<std::string, int> names;
  walk(tree, RootfsPath(), [&](const Entry& e) {
    if (e.type == EntryType::kFile) names[e.is_hard_link() ? e.hard_link.str() : e.path.str()]++;
  });
  std::map<std::string, std::string> all;
  walk(tree, RootfsPath(), [&](const Entry& e) {
    std::string first = e.is_hard_link() ? e.hard_link.str() : e.path.str();
    all[e.path.str()] = std::to_string(static_cast<int>(e.type)) + " " + std::to_string(e.mode) + " " +
                        e.content.short_hex() + " " +
                        (e.type == EntryType::kFile ? first + " " + std::to_string(names[first]) : "");
  });
  return all;
}

TEST(Delta, HoldsOnlyWhatChangedAndTheWayThere) {
  std::vector<Entry> before{directory("a"), directory("a/b"), file("a/b/one", "1"), file("a/b/two", "2"),
                            file("other", "x")};
  std::vector<Entry> after = before;
  after[2].content = Digest::of("one");
  auto delta = make_delta(Manifest(before), Manifest(after), 10);
  ASSERT_TRUE(delta);
  std::vector<std::string> paths;
  for (const Entry& e : delta->entries.entries()) paths.push_back(e.path.str());
  EXPECT_EQ(paths, (std::vector<std::string>{"a", "a/b", "a/b/one"}));
  EXPECT_TRUE(delta->absent.empty());
  EXPECT_FALSE(make_delta(Manifest(before), Manifest(after), 2));
}

TEST(Delta, OfWhatIsGoneIsRightOnlyWhereNothingLiesBeneath) {
  Manifest before({directory("a"), file("a/gone", "1"), file("a/kept", "2")});
  Manifest after({directory("a"), file("a/kept", "2")});
  auto delta = make_delta(before, after, 10);
  ASSERT_TRUE(delta);
  ASSERT_EQ(delta->absent.size(), 1u);
  EXPECT_EQ(delta->absent[0].str(), "a/gone");
  EXPECT_EQ(delta->entries.find(RootfsPath("a/gone"))->type, EntryType::kWhiteout);
}

TEST(Delta, BringsUpAllNamesOfAFileThatLostOne) {
  Entry link = file("b", "1"), third = file("c", "1");
  link.hard_link = third.hard_link = RootfsPath("a");
  auto delta = make_delta(Manifest({file("a", "1"), link, third}), Manifest({file("a", "1"), third}), 10);
  ASSERT_TRUE(delta);
  EXPECT_NE(delta->entries.find(RootfsPath("a")), nullptr);
  EXPECT_NE(delta->entries.find(RootfsPath("c")), nullptr);
}

TEST(Delta, KnowsNoDirectoryThatComesToHideWhatLiesBeneath) {
  Entry opaque = directory("a");
  opaque.opaque = true;
  EXPECT_FALSE(make_delta(Manifest({directory("a")}), Manifest({opaque}), 10));
}

// A random layer whose directories all have entries; some of its directories hide what lies beneath.
Manifest random_layer(std::mt19937& random, bool may_have_whiteouts) {
  std::map<std::string, Entry> entries;
  auto below = [&](const std::string& top, int depth, auto& self) -> void {
    for (const char* name : {"a", "b", "c"}) {
      if (random() % 2) continue;
      std::string path = top.empty() ? name : top + "/" + name;
      switch (random() % 5) {
        case 0:
        case 1:
          if (depth == 3) break;
          entries[path] = directory(path);
          entries[path].opaque = random() % 4 == 0;
          self(path, depth + 1, self);
          break;
        case 2:
          if (may_have_whiteouts) entries[path] = entry(path, EntryType::kWhiteout);
          break;
        default:
          entries[path] = file(path, std::to_string(random() % 3));
      }
    }
  };
  below("", 0, below);
  std::vector<Entry> list;
  std::string first;
  for (auto& [path, e] : entries) {
    if (e.type == EntryType::kFile && !first.empty() && random() % 4 == 0) {
      Entry link = entries[first];
      link.path = e.path;
      link.hard_link = RootfsPath(first);
      e = link;
    } else if (e.type == EntryType::kFile && first.empty()) {
      first = path;
    }
    list.push_back(e);
  }
  return Manifest(std::move(list));
}

// The oracle: what is seen through the stack with the layer itself.
TEST(Delta, ShowsWhatTheLayerShows) {
  std::mt19937 random(20261121);
  int used = 0, refused = 0;
  for (int round = 0; round < 20'000; round++) {
    auto beneath = shared(random_layer(random, false)), earlier = shared(random_layer(random, true)),
         later = shared(random_layer(random, true));
    auto delta = make_delta(*earlier, *later, 1000);
    RootfsView stack({beneath});
    if (!delta || std::any_of(delta->absent.begin(), delta->absent.end(),
                              [&](const RootfsPath& path) { return stack.find(path) != nullptr; })) {
      refused++;
      continue;
    }
    used++;
    ASSERT_EQ(seen(RootfsView({beneath, earlier, shared(delta->entries)})),
              seen(RootfsView({beneath, later})))
        << "round " << round;
  }
  EXPECT_GT(used, 2000);
  EXPECT_GT(refused, 2000);
}

}  // namespace
}  // namespace corten::store
