#include "source/local_context.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "base/beneath.h"
#include "base/error.h"
#include "base/subprocess.h"
#include "store/store.h"

namespace corten::source {

class LocalContextTest : public testing::Test {
 protected:
  LocalContextTest() { make_directories_on_host(root_); }
  void write(const std::string& path, std::string_view text) {
    make_directories_on_host(HostPath{root_ + "/" + path}.parent());
    write_file_atomic(root_ + "/" + path, text);
  }
  LocalContext open(LocalContextOptions options = {}) {
    return LocalContext({root_}, options, store_.contents());
  }
  static std::vector<std::string> paths(const store::Tree& tree) {
    std::vector<std::string> found;
    store::walk(tree, RootfsPath(), [&](const store::Entry& e) { found.push_back(e.path.str()); });
    return found;
  }
  TempDir dir_ = TempDir::for_test();
  std::string root_ = dir_ / "context";
  store::Store store_{dir_ / "store"};
};

TEST_F(LocalContextTest, HidesWhatIsIgnored) {
  write("src/a.c", "1");
  write("build/x", "1");
  write("docs/keep/me", "1");
  write("docs/other", "1");
  write("deep/only/ignored", "1");
  EXPECT_EQ(paths(open({.ignore = {"build", "docs", "!docs/keep", "deep/**", "!nothing"}})),
            (std::vector<std::string>{"deep", "docs", "docs/keep", "docs/keep/me", "src", "src/a.c"}));
}

TEST_F(LocalContextTest, DigestsAndIngests) {
  write("f", "hello");
  LocalContext context = open();
  const store::Entry* f = context.find(RootfsPath("f"));
  context.compute_digests(std::array{f});
  EXPECT_EQ(f->content, Digest::of("hello"));
  EXPECT_FALSE(store_.contents().has(f->content));
  context.ingest(std::array{f});
  EXPECT_EQ(store_.contents().read(f->content, 100), "hello");
  EXPECT_FALSE(f->time_ns);
}

// Of interest to ThreadSanitizer: steps share a context.
TEST_F(LocalContextTest, StepsReadItAtTheSameTime) {
  constexpr int kDirectories = 12, kFiles = 6;
  for (int i = 0; i < kDirectories; i++)
    for (int j = 0; j < kFiles; j++)
      write(fmt::format("d{}/e{}/f{}", i % 4, i, j), fmt::format("{} {}", i, j));
  ASSERT_EQ(link((root_ + "/d0/e0/f0").c_str(), (root_ + "/d3/again").c_str()), 0);
  const LocalContext context = open({.stat_cache = dir_ / "cache", .threads = 3});
  std::vector<std::thread> steps;
  std::vector<std::string> seen(4);
  for (size_t n = 0; n < seen.size(); n++)
    steps.emplace_back([&, n] {
      RootfsPath top(n % 2 ? "" : fmt::format("d{}", n));
      context.expect(top);
      std::vector<const store::Entry*> files;
      store::walk(context, RootfsPath(), [&](const store::Entry& e) {
        if (e.type == store::EntryType::kFile) files.push_back(&e);
      });
      context.compute_digests(files);
      context.ingest(files);
      for (const store::Entry* e : files)
        seen[n] += e->path.str() + e->hard_link.str() + e->content.hex() + "\n";
    });
  for (std::thread& step : steps) step.join();
  EXPECT_EQ(std::count(seen[0].begin(), seen[0].end(), '\n'), kDirectories * kFiles + 1);
  // Which name of a hard link is the first depends on who read first, but it is the same for all.
  for (const std::string& other : seen) EXPECT_EQ(other, seen[0]);
}

TEST_F(LocalContextTest, ADirectoryThatCouldNotBeReadIsNotEmpty) {
  write("f", "hello");
  bool is_wrong = true;
  LocalContext context = open({.file_system = [&](int) -> int64_t {
    if (is_wrong) fail(ErrorCode::kIo, "wrong");
    return 0;
  }});
  EXPECT_THROW(context.expect(RootfsPath()), Error);
  is_wrong = false;
  EXPECT_EQ(context.list(RootfsPath()).size(), 1u);
}

TEST_F(LocalContextTest, AFileThatChangesIsNamed) {
  write("f", "hello");
  LocalContext context = open();
  const store::Entry* f = context.find(RootfsPath("f"));
  context.compute_digests(std::array{f});
  write("f", "other");
  EXPECT_THROW(context.ingest(std::array{f}), Error);
  LocalContext second = open();
  f = second.find(RootfsPath("f"));
  write("f", "longer now");
  EXPECT_THROW(second.compute_digests(std::array{f}), Error);
}

TEST_F(LocalContextTest, TheStatCacheBelievesOnlyOldFiles) {
  write("old", "1");
  write("new", "1");
  timespec past[2] = {{1000, 0}, {1000, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, (root_ + "/old").c_str(), past, 0), 0);
  // ctime cannot be set: both files are too young to be believed, whatever their mtime says.
  for (int round = 0; round < 2; round++) {
    LocalContext context = open({.stat_cache = dir_ / "cache"});
    const store::Entry* both[] = {context.find(RootfsPath("old")), context.find(RootfsPath("new"))};
    context.compute_digests(both);
    EXPECT_EQ(both[0]->content, Digest::of(round ? "2" : "1"));
    context.save_stat_cache();
    UniqueFd fd = open_file(root_ + "/old", O_WRONLY);
    write_fully(fd.get(), "2", "old");
    fd.close_checked("old");
    ASSERT_EQ(utimensat(AT_FDCWD, (root_ + "/old").c_str(), past, 0), 0);
  }
}

// Edits that leave size and mtime as they were, as fast as they can be made: within one tick of the clock
// ctime does not tell them apart either.
TEST_F(LocalContextTest, RacyEditsAreSeen) {
  timespec past[2] = {{1000, 0}, {1000, 0}};
  std::string text = "0000";
  write("f", text);
  for (int round = 0; round < 200; round++) {
    LocalContext context = open({.stat_cache = dir_ / "cache"});
    const store::Entry* f = context.find(RootfsPath("f"));
    context.compute_digests(std::array{f});
    ASSERT_EQ(f->content, Digest::of(text)) << round;
    context.save_stat_cache();
    text = fmt::format("{:04}", round);
    UniqueFd fd = open_file(root_ + "/f", O_WRONLY);
    write_fully(fd.get(), text, "f");
    fd.close_checked("f");
    ASSERT_EQ(utimensat(AT_FDCWD, (root_ + "/f").c_str(), past, 0), 0);
  }
}

// The cache is told another digest for the very file that lies there: whoever believes it says so.
TEST_F(LocalContextTest, WhatMakesUpInodesIsAlwaysHashed) {
  write("f", "hello");
  struct stat st;
  ASSERT_EQ(stat((root_ + "/f").c_str(), &st), 0);
  int64_t written = st.st_ctim.tv_sec * 1'000'000'000 + st.st_ctim.tv_nsec;
  FakeClock later(written + 10'000'000'000);
  StatCache cache(dir_ / "cache");
  cache.remember("f", st, Digest::of("what the cache says"), later.now_ns());
  cache.save();
  auto digest_on = [&](int64_t file_system, const Clock& clock) {
    LocalContext context = open(
        {.stat_cache = dir_ / "cache", .file_system = [=](int) { return file_system; }, .clock = &clock});
    const store::Entry* f = context.find(RootfsPath("f"));
    context.compute_digests(std::array{f});
    return f->content;
  };
  constexpr int64_t kExt4 = 0xEF53, kFuse = 0x65735546, kFat = 0x4D44, kNfs = 0x6969, k9p = 0x01021997;
  EXPECT_EQ(digest_on(kExt4, later), Digest::of("what the cache says"));
  for (int64_t file_system : {kFuse, kFat, kNfs, k9p})
    EXPECT_EQ(digest_on(file_system, later), Digest::of("hello")) << file_system;
  // The clock was set back to before the digest was made.
  FakeClock earlier(written + 9'000'000'000);
  EXPECT_EQ(digest_on(kExt4, earlier), Digest::of("hello"));
}

TEST_F(LocalContextTest, ModesOfTrackedFilesAreGits) {
  if (find_program("git").empty()) FAIL() << "git is needed";
  write("tracked", "1");
  write("d/tool", "1");
  write("loose", "1");
  chmod((root_ + "/tracked").c_str(), 0600);
  chmod((root_ + "/d/tool").c_str(), 0710);
  chmod((root_ + "/d").c_str(), 0700);
  chmod((root_ + "/loose").c_str(), 0640);
  ASSERT_EQ(run_subprocess({"git", "-C", root_, "init", "-q"}).exit_code, 0);
  ASSERT_EQ(run_subprocess({"git", "-C", root_, "add", "tracked", "d"}).exit_code, 0);
  LocalContext context = open({.ignore = {".git"}});
  EXPECT_EQ(context.find(RootfsPath("tracked"))->mode, 0644u);
  EXPECT_EQ(context.find(RootfsPath("d/tool"))->mode, 0755u);
  EXPECT_EQ(context.find(RootfsPath("d"))->mode, 0755u);
  EXPECT_EQ(context.find(RootfsPath("loose"))->mode, 0640u);
}

TEST_F(LocalContextTest, AMissingDirectoryIsNamed) {
  EXPECT_THROW(LocalContext({dir_ / "nowhere"}, {}, store_.contents()), Error);
}

}  // namespace corten::source
