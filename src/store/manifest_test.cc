#include "store/manifest.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace corten::store {

static Entry file(std::string_view path, std::string_view text) {
  Entry e;
  e.path = RootfsPath(path);
  e.mode = 0644;
  e.size = text.size();
  e.content = Digest::of(text);
  return e;
}

static Entry directory(std::string_view path) {
  Entry e;
  e.path = RootfsPath(path);
  e.type = EntryType::kDirectory;
  e.mode = 0755;
  return e;
}

TEST(Manifest, SurvivesItsBytes) {
  std::vector<Entry> entries = {directory("a"), file("a/f", "x"), file("a-b", "y")};
  entries[1].time_ns = -5;
  entries[1].xattrs["security.capability"] = std::string("\1\0\2", 3);
  entries[2].hard_link = RootfsPath("a/f");
  Entry link;
  link.path = RootfsPath("l");
  link.type = EntryType::kSymlink;
  link.link = "../x";
  entries.push_back(link);
  Entry gone;
  gone.path = RootfsPath("gone");
  gone.type = EntryType::kWhiteout;
  entries.push_back(gone);
  entries[0].opaque = true;
  Manifest manifest(entries);
  Manifest again = Manifest::parse(manifest.serialize());
  EXPECT_EQ(again.entries(), manifest.entries());
  EXPECT_EQ(again.id(), manifest.id());
}

TEST(Manifest, OrderOfEntriesDoesNotCountTimesOfTheLayerNeither) {
  Manifest a({file("x", "1"), file("y", "2")}), b({file("y", "2"), file("x", "1")});
  EXPECT_EQ(a.id(), b.id());
  EXPECT_NE(a.id(), Manifest({file("x", "1"), file("y", "3")}).id());
}

TEST(Manifest, RefusesDamage) {
  std::string bytes = Manifest({file("a", "x"), directory("d")}).serialize();
  for (size_t length = 0; length < bytes.size(); length++)
    EXPECT_THROW(Manifest::parse(bytes.substr(0, length)), Error) << length;
  EXPECT_THROW(Manifest::parse(bytes + "x"), Error);
  EXPECT_THROW(Manifest({file("a", "x"), file("a", "y")}), Error);
}

TEST(Manifest, ChildrenSkipWhatIsDeeper) {
  Manifest m({directory("a"), directory("a/b"), file("a/b/c", "1"), file("a/b-x", "2"),
              file("implied/deep/f", "3"), file("z", "4")});
  auto names = [&](std::string_view path) {
    std::vector<std::string> found;
    for (const Entry* e : m.children(RootfsPath(path))) found.push_back(e->path.str());
    return found;
  };
  EXPECT_EQ(names(""), (std::vector<std::string>{"a", "z"}));
  EXPECT_EQ(names("a"), (std::vector<std::string>{"a/b", "a/b-x"}));
  EXPECT_EQ(names("implied/deep"), (std::vector<std::string>{"implied/deep/f"}));
}

}  // namespace corten::store
