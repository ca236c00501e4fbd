#include "store/tree.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "store/layer_builder.h"

namespace corten::store {

static Entry make(std::string_view path, EntryType type, std::string_view detail = {}) {
  Entry e;
  e.path = RootfsPath(path);
  e.type = type;
  e.mode = type == EntryType::kDirectory ? 0755 : type == EntryType::kFile ? 0644 : 0;
  if (type == EntryType::kSymlink) e.link = detail;
  if (type == EntryType::kFile) e.size = detail.size(), e.content = Digest::of(detail);
  return e;
}
static std::shared_ptr<const Manifest> layer(std::vector<Entry> entries) {
  return std::make_shared<const Manifest>(std::move(entries));
}
static std::vector<std::string> names(const Tree& tree, std::string_view path) {
  std::vector<std::string> found;
  for (const Entry* e : tree.list(RootfsPath(path))) found.emplace_back(e->path.filename());
  return found;
}
constexpr auto kDir = EntryType::kDirectory;
constexpr auto kFile = EntryType::kFile;
constexpr auto kLink = EntryType::kSymlink;

TEST(RootfsViewTest, UpperLayersHideLowerOnes) {
  Entry opaque = make("o", kDir);
  opaque.opaque = true;
  RootfsView view({layer({make("d", kDir), make("d/a", kFile, "1"), make("d/b", kFile, "1"), make("o", kDir),
                          make("o/x", kFile), make("s", kDir), make("s/t", kFile)}),
                   layer({make("d", kDir), make("d/a", EntryType::kWhiteout), make("d/c", kFile, "2"), opaque,
                          make("s", kFile, "now a file")})});
  EXPECT_EQ(names(view, "d"), (std::vector<std::string>{"b", "c"}));
  EXPECT_EQ(names(view, "o"), (std::vector<std::string>{}));
  EXPECT_FALSE(view.find(RootfsPath("o/x")));
  EXPECT_FALSE(view.find(RootfsPath("s/t")));
  EXPECT_FALSE(view.find(RootfsPath("d/a")));
  EXPECT_EQ(names(view, ""), (std::vector<std::string>{"d", "o", "s"}));
  EXPECT_EQ(view.find(RootfsPath(""))->mode, 0755u);
}

TEST(ResolveLinks, StaysInTheRoot) {
  RootfsView view(
      {layer({make("a", kDir), make("a/l", kLink, "../../../etc"), make("etc", kDir), make("etc/f", kFile),
              make("abs", kLink, "/a/l"), make("loop", kLink, "loop"), make("gone", kLink, "nowhere/x")})});
  EXPECT_EQ(resolve_links(view, RootfsPath("a/l/f")).str(), "etc/f");
  EXPECT_EQ(resolve_links(view, RootfsPath("abs/f")).str(), "etc/f");
  EXPECT_EQ(resolve_links(view, RootfsPath("abs"), false).str(), "abs");
  EXPECT_EQ(resolve_links(view, RootfsPath("gone")).str(), "nowhere/x");
  EXPECT_THROW(resolve_links(view, RootfsPath("loop")), Error);
}

TEST(LayerBuilderTest, ReplacesAndRemoves) {
  RootfsView below({layer({make("d", kDir), make("d/old", kFile, "1"), make("f", kFile, "1")})});
  LayerBuilder builder(below);
  builder.put(make("d/new", kFile, "2"));
  builder.put(make("deep/er/f", kFile, "3"));
  builder.remove(RootfsPath("f"));
  builder.remove(RootfsPath("never"));
  EXPECT_EQ(names(builder, "d"), (std::vector<std::string>{"new", "old"}));
  EXPECT_EQ(names(builder, ""), (std::vector<std::string>{"d", "deep"}));
  builder.put(make("d", kFile, "a file now"));
  EXPECT_FALSE(builder.find(RootfsPath("d/old")));
  builder.put(make("d", kDir));
  EXPECT_EQ(names(builder, "d"), (std::vector<std::string>{}));
  Manifest manifest = builder.finish();
  EXPECT_TRUE(manifest.find(RootfsPath("d"))->opaque);
  EXPECT_EQ(manifest.find(RootfsPath("f"))->type, EntryType::kWhiteout);
  EXPECT_FALSE(manifest.find(RootfsPath("never")));
  EXPECT_TRUE(manifest.find(RootfsPath("deep/er"))->is_directory());
}

TEST(LayerBuilderTest, AHardLinkOutlivesItsFirstName) {
  EmptyTree below;
  LayerBuilder builder(below);
  builder.put(make("a", kFile, "x"));
  for (const char* name : {"b", "c"}) {
    Entry link = make(name, kFile, "x");
    link.hard_link = RootfsPath("a");
    builder.put(link);
  }
  builder.put(make("a", kFile, "other"));
  Manifest manifest = builder.finish();
  EXPECT_FALSE(manifest.find(RootfsPath("b"))->is_hard_link());
  EXPECT_EQ(manifest.find(RootfsPath("c"))->hard_link.str(), "b");
}

}  // namespace corten::store
