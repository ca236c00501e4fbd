#include "source/git_source.h"

#include <gtest/gtest.h>

#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "http/server_test.h"
#include "source/git_submodules.h"

namespace corten::source {
namespace {

using http::answer;
using http::code_of;
using http::quick;
using http::Server;

// A repository made by git itself, reached as file://.
class GitSourceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    setenv("SSL_CERT_FILE", "", 1);
    repository_ = place_ / "origin";
    git({"init", "-q", "-b", "main", repository_});
    write("a.txt", "one");
    write("sub/run.sh", "#!/bin/sh\n");
    chmod((repository_ + "/sub/run.sh").c_str(), 0775);
    write("sub/deep/b.txt", "b");
    ASSERT_EQ(symlink("sub", (repository_ + "/link").c_str()), 0);
    first_ = commit("first");
    git({"tag", "light"});
    git({"tag", "-a", "-m", "annotated", "v1.0"});
    write("a.txt", "two");
    second_ = commit("second");
  }

  std::string git(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"git", "-c", "user.name=t", "-c", "user.email=t@example.invalid"});
    SubprocessOptions options;
    options.environment = {{"GIT_CONFIG_GLOBAL", "/dev/null"}, {"GIT_CONFIG_NOSYSTEM", "1"}};
    options.directory = path_there(repository_) ? repository_ : place_.path();
    SubprocessResult result = run_subprocess(arguments, options);
    EXPECT_EQ(result.exit_code, 0) << result.error_output;
    return std::string(trim(result.output));
  }
  static bool path_there(const std::string& path) {
    struct stat st;
    return stat(path.c_str(), &st) == 0;
  }
  void write(const std::string& name, std::string_view text) {
    std::string path = repository_ + "/" + name;
    run_subprocess({"mkdir", "-p", HostPath{path}.parent()});
    write_file_atomic(path, text);
  }
  std::string commit(const std::string& message) {
    git({"add", "-A"});
    git({"commit", "-q", "-m", message});
    return git({"rev-parse", "HEAD"});
  }
  GitReference reference(const std::string& more = "") {
    return *parse_git_reference("file://" + repository_ + more, {.files = true});
  }
  GitCheckout load(const std::string& more = "", const GitOptions& options = {}) {
    return source().checkout(reference(more), options);
  }
  GitSource source() { return GitSource(store_, access_, 2); }
  std::string text(const GitCheckout& checkout, std::string_view path) {
    const store::Entry* e = checkout.tree->find(RootfsPath(path));
    return e ? store_.contents().read(e->content, 1 << 20) : "absent";
  }
  std::string refused(const std::string& more, std::string* hint = nullptr) {
    try {
      load(more);
    } catch (const Error& error) {
      if (hint) *hint = error.hint();
      return error.what();
    }
    return "taken";
  }

  TempDir place_ = TempDir::for_test();
  std::string repository_, first_, second_;
  store::Store store_{place_ / "store"};
  GitAccess access_;
};

TEST_F(GitSourceTest, DefaultBranchRefsAndCommits) {
  GitCheckout head = load();
  EXPECT_EQ(head.commit, second_);
  EXPECT_EQ(text(head, "a.txt"), "two");
  EXPECT_EQ(head.tree->find(RootfsPath(".git")), nullptr);
  EXPECT_EQ(load("#main").commit, second_);
  EXPECT_EQ(load("#refs/heads/main").commit, second_);
  EXPECT_EQ(load("#light").commit, first_);
  EXPECT_EQ(load("#v1.0").commit, first_);
  EXPECT_EQ(load("?tag=v1.0").commit, first_);
  EXPECT_EQ(load("#" + first_).commit, first_);
  EXPECT_EQ(text(load("#" + first_), "a.txt"), "one");
  EXPECT_EQ(load("?checksum=" + second_.substr(0, 7)).commit, second_);
}

TEST_F(GitSourceTest, ModesLinksAndSubdirectories) {
  GitCheckout head = load();
  EXPECT_EQ(head.tree->find(RootfsPath("a.txt"))->mode, 0644u);
  EXPECT_EQ(head.tree->find(RootfsPath("sub/run.sh"))->mode, 0755u);
  EXPECT_EQ(head.tree->find(RootfsPath("sub"))->mode, 0755u);
  EXPECT_EQ(head.tree->find(RootfsPath("link"))->link, "sub");
  GitCheckout sub = load("#main:sub");
  EXPECT_NE(sub.tree->find(RootfsPath("run.sh")), nullptr);
  EXPECT_NE(sub.tree->find(RootfsPath("deep/b.txt")), nullptr);
  EXPECT_EQ(sub.tree->find(RootfsPath("a.txt")), nullptr);
  EXPECT_NE(refused("#main:link").find("non-directory \"link\""), std::string::npos);
  EXPECT_NE(refused("#main:nowhere").find("does not exist"), std::string::npos);
}

TEST_F(GitSourceTest, ACommitThatIsKnownNeedsNoRemote) {
  load("#" + first_);
  run_subprocess({"mv", repository_, repository_ + ".away"});
  EXPECT_EQ(text(load("#" + first_), "a.txt"), "one");
  EXPECT_NE(refused("#main").find("failed to fetch remote"), std::string::npos);
}

TEST_F(GitSourceTest, ABranchThatMoves) {
  load("#main");
  write("a.txt", "three");
  std::string third = commit("third");
  EXPECT_EQ(text(load("#main"), "a.txt"), "three");
  git({"reset", "-q", "--hard", first_});
  EXPECT_EQ(load("#main").commit, first_);
  // A branch that stands where a directory of branches was.
  git({"branch", "x/y"});
  load("#x/y");
  git({"branch", "-D", "-q", "x/y"});
  git({"branch", "x"});
  EXPECT_EQ(load("#x").commit, first_);
}

TEST_F(GitSourceTest, ARefIsOneCommitInABuild) {
  GitSource build = source();
  EXPECT_EQ(build.checkout(reference("#main"), {}).commit, second_);
  write("a.txt", "three");
  std::string third = commit("third");
  EXPECT_EQ(build.checkout(reference("#main"), {}).commit, second_);
  EXPECT_EQ(build.checkout(reference("#main:sub"), {}).commit, second_);
  EXPECT_EQ(load("#main").commit, third);
}

TEST_F(GitSourceTest, UnknownRefs) {
  std::string hint;
  EXPECT_NE(refused("#mian", &hint).find("does not contain ref mian"), std::string::npos);
  EXPECT_EQ(hint, "did you mean main?");
  refused("#v1.9", &hint);
  EXPECT_EQ(hint, "did you mean v1.0?");
  refused("#something-else", &hint);
  EXPECT_EQ(hint, "it has main, light, v1.0");
  refused("#" + first_.substr(0, 10), &hint);
  EXPECT_NE(hint.find("whole id"), std::string::npos);
  EXPECT_NE(refused("#" + std::string(40, 'a')).find("does not contain commit"), std::string::npos);
  EXPECT_NE(refused("?checksum=abcdef").find("expected checksum to match abcdef, got " + second_),
            std::string::npos);
}

TEST_F(GitSourceTest, KeptGitDirectoriesAreEqual) {
  GitCheckout kept = load("#v1.0", {.keep_git_dir = true});
  ASSERT_NE(kept.tree->find(RootfsPath(".git/HEAD")), nullptr);
  EXPECT_EQ(text(kept, ".git/HEAD"), first_ + "\n");
  EXPECT_EQ(kept.tree->find(RootfsPath(".git/hooks")), nullptr);
  EXPECT_EQ(kept.tree->find(RootfsPath(".git/logs")), nullptr);
  EXPECT_NE(text(kept, ".git/config").find("url = file://"), std::string::npos);
  // Another store, which has fetched another commit before: the same bytes.
  store::Store other(place_ / "other");
  GitSource elsewhere(other, access_, 1);
  elsewhere.checkout(reference("#main"), {});
  GitCheckout again = elsewhere.checkout(reference("#v1.0"), {.keep_git_dir = true});
  auto list = [](const store::Tree& tree) {
    std::string all;
    store::walk(tree, RootfsPath(),
                [&](const store::Entry& e) { all += e.path.str() + " " + e.content.hex() + "\n"; });
    return all;
  };
  EXPECT_EQ(list(*again.tree), list(*kept.tree));
  EXPECT_EQ(load("#main:sub", {.keep_git_dir = true}).tree->find(RootfsPath(".git")), nullptr);
}

TEST_F(GitSourceTest, CommitTimes) {
  GitCheckout head = load("", {.commit_times = true});
  EXPECT_EQ(head.tree->find(RootfsPath("a.txt"))->time_ns,
            *parse_int(git({"show", "-s", "--format=%ct"})) * 1'000'000'000);
  EXPECT_EQ(load().tree->find(RootfsPath("a.txt"))->time_ns, std::nullopt);
}

TEST_F(GitSourceTest, NothingOfTheRepositoryIsExecuted) {
  // A filter that the repository asks for, with a definition in the user's configuration.
  write(".gitattributes", "*.txt filter=evil\n");
  commit("attributes");
  write_file_atomic(place_ / "gitconfig", "[filter \"evil\"]\n\tsmudge = touch " + (place_ / "pwned") +
                                              "\n[core]\n\thooksPath = " + (place_ / "hooks") + "\n");
  setenv("GIT_CONFIG_GLOBAL", (place_ / "gitconfig").c_str(), 1);
  GitCheckout head = load();
  unsetenv("GIT_CONFIG_GLOBAL");
  EXPECT_EQ(text(head, "a.txt"), "two");
  EXPECT_FALSE(path_there(place_ / "pwned"));
}

TEST_F(GitSourceTest, SubmoduleAddressesThatAreRefused) {
  auto with_submodule = [&](const std::string& url) {
    write(".gitmodules", "[submodule \"m\"]\n\tpath = m\n\turl = " + url + "\n");
    git({"add", ".gitmodules"});
    git({"update-index", "--add", "--cacheinfo", "160000," + first_ + ",m"});
    git({"commit", "-q", "-m", "submodule"});
  };
  with_submodule("--upload-pack=touch " + (place_ / "pwned"));
  EXPECT_NE(refused("").find("submodule \"m\": its URL \"--upload-pack=touch"), std::string::npos);
  EXPECT_EQ(load("?submodules=false").tree->find(RootfsPath("m"))->type, store::EntryType::kDirectory);
  with_submodule("ext::sh -c touch% " + (place_ / "pwned"));
  EXPECT_NE(refused("").find("it is none of https"), std::string::npos);
  with_submodule("../origin");
  EXPECT_NE(refused("").find("it is none of https"), std::string::npos);
  with_submodule("/etc");
  EXPECT_NE(refused("").find("it is none of https"), std::string::npos);
  EXPECT_FALSE(path_there(place_ / "pwned"));
}

TEST_F(GitSourceTest, ADamagedCopyIsFetchedAgain) {
  load("#main");
  run_subprocess({"sh", "-c",
                  "for f in $(find " + store_.git_directory() + " -name '*.pack'); do : >$f; done; rm -rf " +
                      store_.path() + "/index.db"});
  store::Store again(place_ / "store2");
  run_subprocess({"sh", "-c",
                  "rm -rf " + again.git_directory() + " && cp -a " + store_.git_directory() + " " +
                      again.git_directory()});
  GitSource source(again, access_, 1);
  EXPECT_EQ(source.checkout(reference("#main"), {}).commit, second_);
}

TEST_F(GitSourceTest, AServerThatNeverAnswersIsGivenUp) {
  Server server([](const std::string&) { return std::string(); },
                [](int peer, const std::string&) {
                  char byte;
                  while (recv(peer, &byte, 1, 0) > 0) {
                  }
                });
  access_.silence_ms = 500;
  try {
    source().checkout(*parse_git_reference(server.url("/x.git")), {});
    FAIL() << "it answered";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_NE(std::string(error.what()).find("nothing came for"), std::string::npos) << error.what();
  }
  access_.silence_ms = 60'000;
  std::thread canceller([&] {
    while (server.connections() < 2) usleep(10'000);
    access_.cancellation.cancel();
  });
  EXPECT_EQ(code_of([&] { source().checkout(*parse_git_reference(server.url("/x.git")), {}); }),
            ErrorCode::kCancelled);
  canceller.join();
  // The server ends when its peers have: the helpers of git are gone too.
}

TEST_F(GitSourceTest, Sha256Repositories) {
  std::string other = place_ / "sha256";
  git({"init", "-q", "-b", "main", "--object-format=sha256", other});
  write_file_atomic(other + "/f", "256");
  git({"-C", other, "add", "-A"});
  git({"-C", other, "commit", "-q", "-m", "one"});
  GitCheckout head = source().checkout(*parse_git_reference("file://" + other, {.files = true}), {});
  EXPECT_EQ(head.commit.size(), 64u);
  EXPECT_EQ(text(head, "f"), "256");
}

TEST(GitSubmodules, RelativeAddresses) {
  EXPECT_EQ(resolve_submodule_url("https://e.com/a/b.git", "../c.git"), "https://e.com/a/c.git");
  EXPECT_EQ(resolve_submodule_url("https://e.com/a/b.git", "../../x/c.git"), "https://e.com/x/c.git");
  EXPECT_EQ(resolve_submodule_url("https://e.com/a/b.git", "./c.git"), "https://e.com/a/b.git/c.git");
  EXPECT_EQ(resolve_submodule_url("git@e.com:a/b", "../c"), "git@e.com:a/c");
  EXPECT_EQ(resolve_submodule_url("git@e.com:b", "../c"), "git@e.com:c");
  EXPECT_EQ(resolve_submodule_url("https://e.com/b", "https://f.com/c"), "https://f.com/c");
  EXPECT_THROW(resolve_submodule_url("https://e.com/b", "../../../c"), Error);
}

TEST(GitReason, TellsWhy) {
  EXPECT_EQ(
      git_reason("Receiving objects:  10% (1/10)\rReceiving objects: 100%\nfatal: early EOF\nhint: x\n"),
      "fatal: early EOF");
  EXPECT_EQ(git_reason(""), "git said nothing");
  EXPECT_EQ(git_reason("something odd\n"), "something odd");
}

}  // namespace
}  // namespace corten::source
