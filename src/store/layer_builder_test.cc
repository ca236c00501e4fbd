#include "store/layer_builder.h"

#include <gtest/gtest.h>

#include <random>

#include "base/error.h"

namespace corten::store {
namespace {

// What a layer says, told the slow way: every question is answered by looking at every change.
class SlowBuilder {
 public:
  explicit SlowBuilder(const Tree& below) : below_(below) {}

  const Entry* find(const RootfsPath& path) const {
    auto change = changes_.find(path);
    if (change != changes_.end())
      return change->second.type == EntryType::kWhiteout ? nullptr : &change->second;
    return is_hidden(path) ? nullptr : below_.find(path);
  }

  void put(Entry entry) {
    if (!entry.path.is_root()) make_directories(entry.path.parent());
    const Entry* old = find(entry.path);
    bool merges = entry.is_directory() && old && old->is_directory();
    if (merges) {
      auto change = changes_.find(entry.path);
      entry.opaque = change != changes_.end() && change->second.opaque;
    } else {
      entry.opaque = entry.is_directory() && below_has_directory(entry.path);
      forget(entry.path);
    }
    changes_[entry.path] = entry;
  }

  void remove(const RootfsPath& path) {
    if (!find(path)) return;
    forget(path);
    if (is_hidden(path) || !below_.find(path)) return;
    Entry whiteout;
    whiteout.path = path;
    whiteout.type = EntryType::kWhiteout;
    changes_[path] = whiteout;
  }

  const std::map<RootfsPath, Entry>& changes() const { return changes_; }

 private:
  bool is_hidden(const RootfsPath& path) const {
    for (const auto& [at, change] : changes_)
      if (at != path && path.is_within(at) && (!change.is_directory() || change.opaque)) return true;
    return false;
  }
  bool below_has_directory(const RootfsPath& path) const {
    const Entry* entry = is_hidden(path) ? nullptr : below_.find(path);
    return entry && entry->is_directory();
  }
  void make_directories(const RootfsPath& path) {
    if (const Entry* here = find(path)) {
      if (!here->is_directory()) fail(ErrorCode::kInvalid, "no directory");
      return;
    }
    make_directories(path.parent());
    Entry directory = default_root();
    directory.path = path;
    directory.opaque = below_has_directory(path);
    changes_[path] = directory;
  }
  void forget(const RootfsPath& path) {
    std::erase_if(changes_, [&](const auto& change) { return change.first.is_within(path); });
    std::map<RootfsPath, RootfsPath> heirs;
    for (auto& [name, entry] : changes_) {
      if (!entry.is_hard_link() || !entry.hard_link.is_within(path)) continue;
      auto [heir, is_new] = heirs.emplace(entry.hard_link, name);
      entry.hard_link = is_new ? RootfsPath() : heir->second;
    }
  }

  const Tree& below_;
  std::map<RootfsPath, Entry> changes_;
};

Entry entry_at(const RootfsPath& path, EntryType type, uint32_t mode) {
  Entry entry;
  entry.path = path;
  entry.type = type;
  if (type != EntryType::kSymlink) entry.mode = mode;
  if (type == EntryType::kSymlink) entry.link = "x";
  return entry;
}

RootfsPath random_path(std::mt19937& random) {
  RootfsPath path;
  for (uint32_t depth = 1 + random() % 4; depth > 0; depth--)
    path = path.child(std::string(1, static_cast<char>('a' + random() % 3)));
  return path;
}

void change_at_random(std::mt19937& random, auto&& put, auto&& remove, auto&& find) {
  RootfsPath path = random_path(random);
  uint32_t what = random() % 10;
  uint32_t mode = random() % 512;
  if (what < 3)
    remove(path);
  else if (what < 6)
    put(entry_at(path, EntryType::kDirectory, mode));
  else if (what < 8)
    put(entry_at(path, EntryType::kFile, mode));
  else if (what < 9)
    put(entry_at(path, EntryType::kSymlink, mode));
  else {
    RootfsPath other = random_path(random);
    const Entry* first = find(other);
    if (!first || first->type != EntryType::kFile || path.is_within(other) || other.is_within(path)) return;
    Entry name = *first;
    name.path = path;
    name.hard_link = first->is_hard_link() ? first->hard_link : other;
    if (name.hard_link != path) put(name);
  }
}

TEST(LayerBuilder, SaysWhatTheSlowWaySays) {
  for (uint32_t seed = 0; seed < 400; seed++) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    EmptyTree nothing;
    LayerBuilder first(nothing);
    auto ignore_errors = [](auto&& act) {
      try {
        act();
      } catch (const Error&) {  // a parent is no directory
      }
    };
    for (int i = 0; i < 12; i++)
      ignore_errors([&] {
        first.put(
            entry_at(random_path(random), random() % 2 ? EntryType::kFile : EntryType::kDirectory, 0700));
      });
    RootfsView below({std::make_shared<Manifest>(first.finish())});
    LayerBuilder builder(below);
    SlowBuilder slow(below);
    for (int i = 0; i < 60; i++) {
      std::mt19937 same = random;
      // A hard link is made to files of this layer alone.
      auto find = [](const auto& of, const RootfsPath& path) -> const Entry* {
        const Entry* entry = of.find(path);
        return entry && entry->mode != 0700 ? entry : nullptr;
      };
      ignore_errors([&] {
        change_at_random(
            random, [&](Entry e) { builder.put(std::move(e)); },
            [&](const RootfsPath& p) { builder.remove(p); },
            [&](const RootfsPath& p) { return find(builder, p); });
      });
      ignore_errors([&] {
        change_at_random(
            same, [&](Entry e) { slow.put(std::move(e)); }, [&](const RootfsPath& p) { slow.remove(p); },
            [&](const RootfsPath& p) { return find(slow, p); });
      });
      ASSERT_EQ(random(), same());
      RootfsPath asked = random_path(random);
      const Entry *fast_answer = builder.find(asked), *slow_answer = slow.find(asked);
      ASSERT_EQ(fast_answer != nullptr, slow_answer != nullptr) << asked.str();
      if (fast_answer) {
        ASSERT_EQ(*fast_answer, *slow_answer) << asked.str();
      }
    }
    std::vector<std::string> listed, expected;
    walk(builder, RootfsPath(), [&](const Entry& e) { listed.push_back(e.path.str()); });
    for (const auto& [path, entry] : slow.changes())
      if (entry.type != EntryType::kWhiteout) expected.push_back(path.str());
    for (const std::string& path : listed) EXPECT_NE(slow.find(RootfsPath(path)), nullptr) << path;
    for (const std::string& path : expected)
      EXPECT_NE(std::find(listed.begin(), listed.end(), path), listed.end()) << path;
    Manifest manifest = builder.finish();
    for (const auto& [path, entry] : slow.changes()) {
      const Entry* found = manifest.find(path);
      ASSERT_NE(found, nullptr) << path.str();
      // The first name of a file is the first in order, whichever the layer began with.
      if (!entry.is_hard_link() && !found->is_hard_link()) {
        EXPECT_EQ(*found, entry) << path.str();
      }
      EXPECT_EQ(found->mode, entry.mode) << path.str();
    }
    for (const Entry& e : manifest.entries()) {
      if (slow.changes().contains(e.path)) continue;
      const Entry* parent = below.find(e.path);  // on the way to a change, as it is below
      ASSERT_TRUE(parent && parent->is_directory()) << e.path.str();
      EXPECT_EQ(e.mode, parent->mode);
    }
  }
}

// Once the cost grew with the cube of the depth: a hostile archive of 1,900 nested directories held a build
// for minutes, and this test for longer than any test may take.
TEST(LayerBuilder, BearsDeepPathsAndFilesNamedTwice) {
  EmptyTree nothing;
  LayerBuilder builder(nothing);
  std::string deep;
  for (int i = 0; i < 1900; i++) deep += "a/";
  for (int i = 0; i < 10; i++)
    builder.put(entry_at(RootfsPath(std::to_string(i) + "/" + deep + "x"), EntryType::kFile, 0644));
  for (int round = 0; round < 2; round++)
    for (int i = 0; i < 20'000; i++)
      builder.put(entry_at(RootfsPath("wide/" + std::to_string(i)), EntryType::kFile, 0644));
  EXPECT_EQ(builder.list(RootfsPath("wide")).size(), 20'000u);
  EXPECT_EQ(builder.finish().entries().size(), 10u * 1902 + 20'001);
}

}  // namespace
}  // namespace corten::store
