#include "source/git_index.h"

#include <gtest/gtest.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/subprocess.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"

namespace corten::source {

TEST(GitIndex, ReadsWhatGitWrites) {
  for (const char* version : {"2", "3", "4"}) {
    TempDir dir = TempDir::for_test();
    make_directories_on_host(dir / "a/b");
    for (const char* name : {"x", "a/y", "a/b/z with blanks", "a/b/zz"}) write_file_atomic(dir / name, "1");
    ASSERT_EQ(run_subprocess({"git", "-C", dir.path(), "init", "-q"}).exit_code, 0);
    ASSERT_EQ(run_subprocess({"git", "-C", dir.path(), "add", "-A"}).exit_code, 0);
    ASSERT_EQ(run_subprocess({"git", "-C", dir.path(), "update-index", "--index-version", version}).exit_code,
              0);
    EXPECT_EQ(tracked_files(dir.path()),
              (std::unordered_set<std::string>{"x", "a/y", "a/b/z with blanks", "a/b/zz"}))
        << version;
    EXPECT_EQ(tracked_files(dir / "a"), (std::unordered_set<std::string>{"y", "b/z with blanks", "b/zz"}))
        << version;
  }
}

TEST(GitIndex, RefusesDamage) {
  EXPECT_THROW(parse_git_index("nonsense"), Error);
  EXPECT_THROW(parse_git_index(std::string("DIRC\0\0\0\2\0\0\0\1", 12)), Error);
  EXPECT_THROW(parse_git_index(std::string("DIRC\0\0\0\7\0\0\0\0", 12)), Error);
  // An entry of 63 bytes can name the path before it again, however long that is.
  std::string long_path = std::string("DIRC\0\0\0\4\0\0\0\1", 12) + std::string(63, '\0') +
                          std::string(5000, 'p') + std::string(21, '\0');
  EXPECT_THROW(parse_git_index(long_path), Error);
  TempDir dir = TempDir::for_test();
  EXPECT_TRUE(tracked_files(dir.path()).empty());
}

}  // namespace corten::source
