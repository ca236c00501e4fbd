#include "base/path.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace corten {

TEST(RootfsPath, CleansAndClamps) {
  EXPECT_EQ(RootfsPath("/a//b/./../c/").str(), "a/c");
  EXPECT_EQ(RootfsPath("../../etc").str(), "etc");
  EXPECT_TRUE(RootfsPath("/").is_root());
  EXPECT_EQ(RootfsPath::join(RootfsPath("w"), "x").str(), "w/x");
  EXPECT_EQ(RootfsPath::join(RootfsPath("w"), "/x").str(), "x");
}

TEST(RootfsPath, DirectoriesStandBeforeTheirContents) {
  std::vector<RootfsPath> paths = {RootfsPath("a-b"), RootfsPath("a/z"), RootfsPath("a"), RootfsPath("a/b/c"),
                                   RootfsPath("a/b")};
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> order;
  for (const auto& path : paths) order.push_back(path.str());
  EXPECT_EQ(order, (std::vector<std::string>{"a", "a/b", "a/b/c", "a/z", "a-b"}));
}

TEST(Glob, AsGoMatches) {
  EXPECT_TRUE(match_glob("*.go", "main.go"));
  EXPECT_FALSE(match_glob("*", "a/b"));
  EXPECT_TRUE(match_glob("[a-c]?", "bx"));
  EXPECT_TRUE(match_glob("[^a]", "b"));
  EXPECT_TRUE(match_glob("a\\*", "a*"));
  EXPECT_FALSE(match_glob("a\\*", "ab"));
  EXPECT_TRUE(match_glob("?", "é"));
  EXPECT_THROW(match_glob("[", "a"), Error);
  EXPECT_THROW(match_glob("b[", "a"), Error);
}

TEST(CleanPath, AsGoCleans) {
  EXPECT_EQ(clean_path(""), ".");
  EXPECT_EQ(clean_path("a/../../b"), "../b");
  EXPECT_EQ(clean_path("/../a/"), "/a");
}

}  // namespace corten
