#include "dockerfile/ignore.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace corten::dockerfile {
namespace {

TEST(ParseIgnoreFile, CleansLines) {
  EXPECT_EQ(parse_ignore_file(
                "\xEF\xBB\xBF/a//b/../c\n# comment\n #pattern\n\n  spaced  \r\n! /x/\n!\n/\nfoo/\n\\#x"),
            (std::vector<std::string>{"a/c", "#pattern", "spaced", "!x", "!", "/", "foo", "\\#x"}));
}

struct Case {
  std::vector<std::string> patterns;
  const char* path;
  bool is_ignored;
};

TEST(IgnoreMatcher, Table) {
  for (const Case& c : std::initializer_list<Case>{
           {{"**"}, "file", true},
           {{"**"}, "dir/file", true},
           {{"**/"}, "file", true},
           {{"**/"}, "dir/file", true},
           {{"**/**"}, "dir/file", true},
           {{"dir/**"}, "dir/file", true},
           {{"dir/**"}, "dir", false},
           {{"dir/**"}, "dir/dir2/file", true},
           {{"**/dir2/*"}, "dir/dir2/file", true},
           {{"**/dir2/**"}, "dir/dir2/dir2/file", true},
           {{"**file"}, "file", true},
           {{"**file"}, "dir/file", true},
           {{"**/file"}, "dir/dir/file", true},
           {{"**/file*"}, "dir/dir/file.txt", true},
           {{"**/file*txt"}, "dir/dir/file.txt", true},
           {{"**/**/*.txt"}, "dir/dir/file.txt", true},
           {{"**/**/*.txt2"}, "dir/dir/file.txt", false},
           {{"**/*.txt"}, "file.txt", true},
           {{"a**/*.txt"}, "a/file.txt", true},
           {{"a**/*.txt"}, "a/dir/file.txt", true},
           {{"a**/*.txt"}, "a/dir/dir/file.txt", true},
           {{"a/*.txt"}, "a/dir/file.txt", false},
           {{"a/*.txt"}, "a/file.txt", true},
           {{"a/*.txt**"}, "a/file.txt", true},
           {{"a[b-d]e"}, "ae", false},
           {{"a[b-d]e"}, "ace", true},
           {{"a[b-d]e"}, "aae", false},
           {{"a[^b-d]e"}, "aze", true},
           {{".*"}, ".foo", true},
           {{".*"}, "foo", false},
           {{"abc.def"}, "abcdef", false},
           {{"abc.def"}, "abc.def", true},
           {{"abc.def"}, "abcZdef", false},
           {{"abc?def"}, "abcZdef", true},
           {{"abc?def"}, "abcdef", false},
           {{"a\\\\"}, "a\\", true},
           {{"**/foo/bar"}, "foo/bar", true},
           {{"**/foo/bar"}, "dir/foo/bar", true},
           {{"abc/**"}, "abc", false},
           {{"abc/**"}, "abc/def", true},
           {{"**/.foo"}, ".foo", true},
           {{"**/.foo"}, "bar.foo", false},
           {{"a(b)c/def"}, "a(b)c/def", true},
           {{"a(b)c/def"}, "a(b)c/xyz", false},
           {{"a.|)$(}+{bc"}, "a.|)$(}+{bc", true},
           {{"dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl"},
            "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl",
            true},
           {{"dist/*.whl"}, "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl", true},
           {{"**.txt"}, "a/b.txt", true},
           {{"node_modules"}, "a/node_modules", false},
           {{"**/node_modules"}, "a/node_modules/x", true},
           {{"foo/"}, "foo", true},
           {{"*"}, "a/b", true},
           {{"*", "!src"}, "src/main.c", false},
           {{"*", "!src"}, "lib/x", true},
           {{"."}, "a", false},
           {{"/"}, "a", false},
           {{"../x"}, "x", false},
           {{"*", "!**/"}, "a/b", false},
           {{"dir", "!dir/keep/x"}, "dir/keep/x", false},
           {{"dir", "!dir/keep/x"}, "dir/keep/y", true},
           {{"ba*", "!bay", ".dockerignore"}, "bay", false},
           {{"ba*", "!bay", ".dockerignore"}, "bar", true},
           {{"!bay", "ba*"}, "bay", true},
           {{"util/docker", "!util/docker/a"}, "util/docker/b", true},
           {{"A"}, "a", false},
           {{"?"}, "가", true},
           {{"[가-나]"}, "각", true},
           {{"a[^b]c"}, "a/c", true}})
    EXPECT_EQ(IgnoreMatcher(c.patterns).is_ignored(c.path), c.is_ignored)
        << c.patterns[0] << " on " << c.path;
}

TEST(IgnoreMatcher, WalkingGivesTheSameAnswers) {
  IgnoreMatcher matcher({"dir", "!dir/keep/x", "**/*.o"});
  auto root = matcher.match("dir", {});
  EXPECT_TRUE(root.is_ignored);
  auto keep = matcher.match("dir/keep", root.state);
  EXPECT_TRUE(keep.is_ignored);
  EXPECT_FALSE(matcher.match("dir/keep/x", keep.state).is_ignored);
  EXPECT_TRUE(matcher.match("dir/keep/y", keep.state).is_ignored);
  auto kept_directory = matcher.match("dir/keep/x", keep.state);
  EXPECT_FALSE(matcher.match("dir/keep/x/below", kept_directory.state).is_ignored);
}

TEST(IgnoreMatcher, Errors) {
  auto error_of = [](std::vector<std::string> patterns) -> std::string {
    try {
      IgnoreMatcher matcher(patterns);
    } catch (const Error& error) {
      return error.message();
    }
    return "accepted";
  };
  EXPECT_EQ(error_of({"!"}), "illegal exclusion pattern: \"!\"");
  for (const char* bad : {"[", "[]a]", "[a", "[a-]", "[-a]", "a\\", "[^]", "[b-a]", "[a\\"})
    EXPECT_EQ(error_of({bad}), "syntax error in pattern") << bad;
  EXPECT_EQ(error_of({"", "  ", "[a]", "]"}), "accepted");
}

TEST(IgnoreMatcher, PrunesOnlyWhereNothingIsTakenBack) {
  EXPECT_TRUE(IgnoreMatcher(std::vector<std::string>{"*"}).can_prune("a"));
  IgnoreMatcher some({"*", "!src/lib/x", "!docs/*.md"});
  EXPECT_TRUE(some.can_prune("node_modules"));
  EXPECT_FALSE(some.can_prune("src"));
  EXPECT_FALSE(some.can_prune("src/lib"));
  EXPECT_TRUE(some.can_prune("src/other"));
  EXPECT_FALSE(some.can_prune("docs"));
  EXPECT_TRUE(some.can_prune("doc"));
  EXPECT_FALSE(IgnoreMatcher({"*", "!**/keep"}).can_prune("anything/at/all"));
  EXPECT_FALSE(IgnoreMatcher({"*", "!a*/x"}).can_prune("abc"));
}

TEST(IgnoreMatcher, KnowsItsList) {
  EXPECT_TRUE(IgnoreMatcher().empty());
  EXPECT_FALSE(IgnoreMatcher().is_ignored("a"));
  EXPECT_TRUE(IgnoreMatcher({"a", "!b"}).has_negations());
  EXPECT_TRUE(IgnoreMatcher({"a", "**/*"}).has_match_all());
  EXPECT_FALSE(IgnoreMatcher(std::vector<std::string>{"a*"}).has_match_all());
}

TEST(IgnoreMatcher, HostilePatternsAreCheap) {
  std::string pattern;
  for (int i = 0; i < 200; i++) pattern += "**/*a";
  EXPECT_FALSE(IgnoreMatcher(std::vector<std::string>{pattern + "b"}).is_ignored(std::string(2000, 'a')));
}

}  // namespace
}  // namespace corten::dockerfile
