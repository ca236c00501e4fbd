// What a step did to a whole tree, found afterwards.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/beneath.h"
#include "base/temp_dir.h"
#include "store/directory_body.h"

namespace corten::store {
namespace {

class TreeChanges : public ::testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) const {
    UniqueFd fd = open_file(root + "/" + path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    write_fully(fd.get(), text, path);
  }
  void SetUp() override {
    make_directories_on_host(root + "/dir/sub");
    make_directories_on_host(root + "/old");
    write("dir/same", "same");
    write("dir/file", "before");
    write("old/gone", "x");
    before = std::make_unique<TreeSnapshot>(root);
  }
  // "PATH" of each entry, with "!" for a whiteout and "*" for an opaque directory.
  std::vector<std::string> changes(const CaptureOptions& options = {}) const {
    std::vector<std::string> list;
    const Manifest manifest = capture_changes(root, *before, options);
    for (const Entry& e : manifest.entries())
      list.push_back((e.type == EntryType::kWhiteout ? "!" : e.opaque ? "*" : "") + e.path.str());
    return list;
  }
  using Paths = std::vector<std::string>;

  TempDir place = TempDir::for_test();
  std::string root = place / "root";
  std::unique_ptr<TreeSnapshot> before;
};

TEST_F(TreeChanges, NothingIsNothing) {
  EXPECT_EQ(changes(), Paths());
}

TEST_F(TreeChanges, AChangedFileComesWithItsDirectories) {
  write("dir/sub/new", "1");
  EXPECT_EQ(changes(), (Paths{"dir", "dir/sub", "dir/sub/new"}));
}

TEST_F(TreeChanges, SameSizeSameTimeAndBackAgainAreSeen) {
  struct stat st;
  ASSERT_EQ(stat((root + "/dir/file").c_str(), &st), 0);
  write("dir/file", "after!");
  const timespec times[2] = {st.st_mtim, st.st_mtim};
  ASSERT_EQ(utimensat(AT_FDCWD, (root + "/dir/file").c_str(), times, 0), 0);
  EXPECT_EQ(changes(), (Paths{"dir", "dir/file"}));
}

TEST_F(TreeChanges, WhatIsGoneIsWhitedOut) {
  ASSERT_EQ(unlink((root + "/dir/same").c_str()), 0);
  remove_tree(root + "/old");
  EXPECT_EQ(changes(), (Paths{"dir", "!dir/same", "!old"}));
}

// A file system gives the number of what was removed to what is made next.
TEST_F(TreeChanges, ADirectoryThatWasMadeAnewIsOpaque) {
  for (int i = 0; i < 20; i++) {
    remove_tree(root + "/old");
    ASSERT_EQ(mkdir((root + "/old").c_str(), 0755), 0);
  }
  write("old/new", "x");
  EXPECT_EQ(changes(), (Paths{"*old", "old/new"}));
}

TEST_F(TreeChanges, WhatWasPutBackIsUnchanged) {
  ASSERT_EQ(rename((root + "/old").c_str(), (place / "aside").c_str()), 0);
  ASSERT_EQ(rename((place / "aside").c_str(), (root + "/old").c_str()), 0);
  EXPECT_EQ(changes(), (Paths{"old"}));
  EXPECT_EQ(changes({.put_back = {RootfsPath("old")}}), Paths());
}

TEST_F(TreeChanges, AMovedTreeIsThereWholeAndGoneFromItsPlace) {
  ASSERT_EQ(rename((root + "/dir").c_str(), (root + "/old/dir").c_str()), 0);
  EXPECT_EQ(changes(), (Paths{"!dir", "old", "*old/dir", "old/dir/file", "old/dir/same", "old/dir/sub"}));
}

}  // namespace
}  // namespace corten::store
