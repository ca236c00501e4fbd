// The digests are those that BuildKit 0.32.2 wrote for these files, from a context and from a stage.
#include "cache/buildkit_content.h"

#include <gtest/gtest.h>

#include "base/temp_dir.h"
#include "store/store.h"

namespace corten::cache {
namespace {

using store::Entry;
using store::EntryType;

class BuildkitContent : public testing::Test {
 protected:
  void add(const std::string& path, EntryType type, uint32_t mode, const std::string& text = "") {
    Entry e;
    e.path = RootfsPath(path);
    e.type = type;
    e.mode = mode;
    if (type == EntryType::kSymlink) e.link = text;
    if (type == EntryType::kFile) {
      e.size = text.size();
      e.content = Digest::of(text);
      store_.contents().add_bytes(text);
    }
    entries_.push_back(std::move(e));
  }
  // As a record of content has it; "" when it is not known.
  std::string record(const std::vector<BuildkitPath>& paths, bool is_context = true) {
    const store::LayerRef layer{store_.layers().save(store::Manifest(entries_)), 1};
    const auto digest =
        buildkit_content_digest({store_.layers().tree({layer}), is_context}, paths, store_.contents());
    return digest ? buildkit_record_digest(*digest, -1).to_string() : "";
  }

  TempDir dir_ = TempDir::for_test();
  store::Store store_{dir_ / "store"};
  std::vector<Entry> entries_;
};

TEST_F(BuildkitContent, OfAFile) {
  add("a.txt", EntryType::kFile, 0644, "hi\n");
  EXPECT_EQ(record({{"/a.txt", true, false}}),
            "sha256:f2b80a3038eeef7649364c2d92ff6cf83c5fe95a450f76224b701005e80ce345");
  EXPECT_EQ(record({{"/nothing", true, false}}), "");
}

TEST_F(BuildkitContent, OfADirectory) {
  add("dir", EntryType::kDirectory, 0755);
  add("dir/l", EntryType::kSymlink, 0, "x");
  add("dir/sub", EntryType::kDirectory, 0750);
  add("dir/sub/y", EntryType::kFile, 0644, "y\n");
  add("dir/x", EntryType::kFile, 0644, "x\n");
  const std::string known = "sha256:4135203ecd2eb612022e5956d94f8818ee94e1c6638cc557f67e7904e594ae8a";
  EXPECT_EQ(record({{"/dir", true, false}}), known);
  EXPECT_EQ(record({{"/dir", true, false}}, false), known) << "a stage's directory is the same";
  add("to", EntryType::kSymlink, 0, "dir");
  EXPECT_EQ(record({{"/to", true, false}}), known);
  EXPECT_NE(record({{"/to", false, false}}), known);
  // The root of a context is nobody's directory, that of a stage is one.
  EXPECT_NE(record({}), record({}, false));
}

// A pattern is a list of what it matches, unless that is one file of the pattern's own name.
TEST_F(BuildkitContent, OfAPattern) {
  add("a.txt", EntryType::kFile, 0644, "hi\n");
  const std::string one = record({{"/a.txt", true, false}});
  EXPECT_NE(record({{"/*.txt", true, true}}), one);
  add("l.txt", EntryType::kSymlink, 0, "a.txt");
  const std::string both = record({{"/*.txt", true, true}});
  entries_.back() = entries_.front();
  entries_.back().path = RootfsPath("l.txt");
  EXPECT_EQ(record({{"/*.txt", true, true}}), both) << "a link that matches counts as what it leads to";
}

TEST_F(BuildkitContent, WhatIsNotKnownForSureHasNone) {
  add("d", EntryType::kDirectory, 0755);
  add("d/tty", EntryType::kCharDevice, 0600);
  EXPECT_EQ(record({{"/d", true, false}}), "");
  entries_.pop_back();
  EXPECT_NE(record({{"/d", true, false}}), "");
  add("d/\xff", EntryType::kFile, 0644, "x");
  EXPECT_EQ(record({{"/d", true, false}}), "");
}

}  // namespace
}  // namespace corten::cache
