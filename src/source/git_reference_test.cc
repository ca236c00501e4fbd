#include "source/git_reference.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace corten::source {
namespace {

std::string refused(std::string_view text, const GitReferenceOptions& options = {}) {
  try {
    auto git = parse_git_reference(text, options);
    return git ? "taken" : "not git";
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(GitReference, FragmentAndQueryForms) {
  auto git = parse_git_reference("https://example.com/foo/bar.git#baz/qux:quux/../quuz");
  ASSERT_TRUE(git);
  EXPECT_EQ(git->remote, "https://example.com/foo/bar.git");
  EXPECT_EQ(git->ref, "baz/qux");
  EXPECT_EQ(git->subdir, "quuz");
  EXPECT_EQ(git->shown(), "https://example.com/foo/bar.git#baz/qux:quuz");
  git = parse_git_reference(
      "https://example.com/bar.git?tag=v1&subdir=/a/b&keep-git-dir&submodules=0&checksum=ABC");
  ASSERT_TRUE(git);
  EXPECT_EQ(git->ref, "refs/tags/v1");
  EXPECT_EQ(git->subdir, "a/b");
  EXPECT_EQ(git->keep_git_dir, true);
  EXPECT_EQ(git->submodules, false);
  EXPECT_EQ(git->checksum, "abc");
  git = parse_git_reference(
      "https://example.com/bar.git?branch=main&mtime=commit&fetch-by-commit=true#refs/heads/main");
  ASSERT_TRUE(git);
  EXPECT_EQ(git->ref, "refs/heads/main");
  EXPECT_TRUE(git->commit_times);
  EXPECT_TRUE(git->fetch_by_commit);
}

TEST(GitReference, Addresses) {
  EXPECT_EQ(refused("https://example.com/file.tar.gz"), "not git");
  EXPECT_EQ(refused("https://example.com/x.git/file"), "not git");
  EXPECT_EQ(refused("ftp://example.com/x.git"), "not git");
  EXPECT_EQ(refused("../x.git"), "not git");
  EXPECT_EQ(refused("a/b.git"), "not git");
  EXPECT_EQ(refused("file:///x.git"), "not git");
  auto git = parse_git_reference("git@Example.com:owner/repo?ref=v1");
  ASSERT_TRUE(git);
  EXPECT_EQ(git->scheme, "ssh");
  EXPECT_EQ(git->host, "example.com");
  EXPECT_EQ(git->remote, "git@Example.com:owner/repo");
  EXPECT_EQ(git->ref, "v1");
  git = parse_git_reference("ssh://git@example.com:22/owner/repo#main");
  ASSERT_TRUE(git);
  EXPECT_EQ(git->host, "example.com:22");
  EXPECT_EQ(git->remote, "ssh://git@example.com:22/owner/repo");
  git = parse_git_reference("github.com/owner/repo");
  ASSERT_TRUE(git);
  EXPECT_TRUE(git->like_local);
  EXPECT_EQ(git->remote, "https://github.com/owner/repo");
  git = parse_git_reference("file:///x/repo#main", {.files = true});
  ASSERT_TRUE(git);
  EXPECT_EQ(git->remote, "file:///x/repo");
}

TEST(GitReference, PasswordsGoNowhere) {
  auto git = parse_git_reference("https://user:p%40ss@example.com/x.git#main");
  ASSERT_TRUE(git);
  EXPECT_EQ(git->user_info, "user:p@ss");
  EXPECT_EQ(git->remote, "https://example.com/x.git");
  EXPECT_EQ(git->shown(), "https://example.com/x.git#main");
  EXPECT_EQ(parse_git_reference("ssh://git:secret@example.com/x")->remote, "ssh://git@example.com/x");
}

TEST(GitReference, Refusals) {
  EXPECT_EQ(refused("https://e.com/x.git?unknown=1"), "unexpected query \"unknown\"");
  EXPECT_EQ(refused("https://e.com/x.git?ref="), "query \"ref\" has no value");
  EXPECT_EQ(refused("https://e.com/x.git?ref=a&ref=b"), "query \"ref\" has multiple values");
  EXPECT_EQ(refused("https://e.com/x.git?ref=a#b"), "ref conflicts: \"b\" vs \"a\"");
  EXPECT_EQ(refused("https://e.com/x.git?tag=a&branch=b"), "branch conflicts with tag");
  EXPECT_EQ(refused("https://e.com/x.git?keep-git-dir=maybe"), "invalid keep-git-dir value: \"maybe\"");
  EXPECT_EQ(refused("https://e.com/x.git#--upload-pack=touch"), "invalid git ref \"--upload-pack=touch\"");
  EXPECT_EQ(refused("ssh://-oProxyCommand=x/y"), "invalid git host \"-oproxycommand=x\"");
  EXPECT_EQ(refused("git@-oProxyCommand:x"), "invalid git host \"-oproxycommand\"");
  EXPECT_EQ(refused("git@host:-x"), "invalid git path \"-x\"");
  EXPECT_NE(refused("https://e.com/x.git#a%0ab").find("control character"), std::string::npos);
  EXPECT_EQ(refused("https://e.com/x.git?checksum=xyz"),
            "invalid checksum xyz for Git URL, expected hex commit hash");
  EXPECT_THROW(parse_git_remote("-u./payload"), Error);
  EXPECT_THROW(parse_git_remote("ext::sh -c x"), Error);
  EXPECT_THROW(parse_git_remote("/etc"), Error);
  EXPECT_THROW(parse_git_remote("file:///etc"), Error);
  EXPECT_EQ(parse_git_remote("https://e.com/without/suffix").remote, "https://e.com/without/suffix");
}

}  // namespace
}  // namespace corten::source
