#include "base/beneath.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/error.h"
#include "base/temp_dir.h"

namespace corten {

TEST(Beneath, LinksStayInside) {
  TempDir dir = TempDir::for_test();
  make_directories_on_host(dir / "root/etc");
  write_file_atomic(dir / "root/etc/passwd", "inside");
  ASSERT_EQ(symlink("/etc/passwd", (dir / "root/link").c_str()), 0);
  ASSERT_EQ(symlink("../../../../etc", (dir / "root/up").c_str()), 0);
  UniqueFd root = open_file(dir / "root", O_PATH | O_DIRECTORY);
  for (const char* path : {"link", "/up/passwd", "/../etc/passwd"}) {
    auto file = open_in_root(root.get(), path, O_RDONLY);
    ASSERT_TRUE(file) << path;
    EXPECT_EQ(read_all(file->get(), path), "inside");
  }
  EXPECT_FALSE(open_no_links(root.get(), "link", O_RDONLY));
  EXPECT_FALSE(open_no_links(root.get(), "up/passwd", O_RDONLY));
  EXPECT_THROW(make_directories(root.get(), "up/x"), Error);
}

TEST(Beneath, RemoveTreeFollowsNothing) {
  TempDir dir = TempDir::for_test();
  make_directories_on_host(dir / "keep");
  write_file_atomic(dir / "keep/file", "x");
  make_directories_on_host(dir / "tree/a/b");
  ASSERT_EQ(symlink((dir / "keep").c_str(), (dir / "tree/a/link").c_str()), 0);
  chmod((dir / "tree/a/b").c_str(), 0);
  remove_tree(dir / "tree");
  EXPECT_FALSE(path_exists(dir / "tree"));
  EXPECT_TRUE(path_exists(dir / "keep/file"));
  remove_tree(dir / "tree");
}

TEST(ReadFile, RefusesWhatWouldBlock) {
  TempDir dir = TempDir::for_test();
  ASSERT_EQ(mkfifo((dir / "fifo").c_str(), 0600), 0);
  EXPECT_THROW(read_file(dir / "fifo"), Error);
  EXPECT_THROW(read_file(dir.path()), Error);
  write_file_atomic(dir / "f", "12345");
  EXPECT_EQ(read_file(dir / "f"), "12345");
  EXPECT_THROW(read_file(dir / "f", 4), Error);
}

TEST(FileLockTest, OneAtATime) {
  TempDir dir = TempDir::for_test();
  FileLock first = FileLock::exclusive(dir / "lock"), second;
  EXPECT_FALSE(FileLock::try_exclusive(dir / "lock", second));
  first.release();
  EXPECT_TRUE(FileLock::try_exclusive(dir / "lock", second));
  second.release();
  FileLock a = FileLock::shared(dir / "lock"), b = FileLock::shared(dir / "lock");
  EXPECT_FALSE(a.try_upgrade());
  b.release();
  EXPECT_TRUE(a.try_upgrade());
  EXPECT_FALSE(FileLock::try_exclusive(dir / "lock", second));
  a.downgrade();
  b = FileLock::shared(dir / "lock");
}

// The file is moved away while somebody waits for its lock, and another has the name.
TEST(FileLockTest, TheLockIsOfTheFileThatHasTheName) {
  TempDir dir = TempDir::for_test();
  FileLock first = FileLock::exclusive(dir / "lock"), waited;
  std::thread waiting([&] { waited = FileLock::exclusive(dir / "lock"); });
  // Until it has the file open, it may as well see the new one.
  usleep(50'000);
  ASSERT_EQ(rename((dir / "lock").c_str(), (dir / "moved").c_str()), 0);
  write_file_atomic(dir / "lock", "");
  first.release();
  waiting.join();
  struct stat held, named;
  ASSERT_EQ(fstat(waited.fd(), &held), 0);
  ASSERT_EQ(stat((dir / "lock").c_str(), &named), 0);
  EXPECT_EQ(held.st_ino, named.st_ino);
}

TEST(FileLockTest, WhatIsGoneIsHeldByNobodyAndNotMade) {
  TempDir dir = TempDir::for_test();
  FileLock lock;
  EXPECT_TRUE(FileLock::try_exclusive_unless_gone(dir / "none/lock", lock));
  EXPECT_TRUE(FileLock::try_exclusive_unless_gone(dir / "lock", lock));
  EXPECT_FALSE(lock.held());
  EXPECT_FALSE(path_exists(dir / "lock"));
  FileLock held = FileLock::exclusive(dir / "lock");
  EXPECT_FALSE(FileLock::try_exclusive_unless_gone(dir / "lock", lock));
  held.release();
  EXPECT_TRUE(FileLock::try_exclusive_unless_gone(dir / "lock", lock));
  EXPECT_TRUE(lock.held());
  // One whose name goes between opening and locking is gone too.
  lock.release();
  std::atomic<bool> ended = false;
  std::thread other([&] {
    while (!ended) {
      FileLock mine = FileLock::exclusive(dir / "lock");
      unlink((dir / "lock").c_str());
    }
  });
  for (int i = 0; i < 20'000; i++) {
    FileLock found;
    if (!FileLock::try_exclusive_unless_gone(dir / "lock", found) || !found.held()) continue;
    struct stat st;
    EXPECT_EQ(fstat(found.fd(), &st), 0);
    EXPECT_EQ(st.st_nlink, 1u);
  }
  ended = true;
  other.join();
}

// Deeper than there are descriptors, and than a path can say.
TEST(Beneath, RemovesWhatIsNestedVeryDeep) {
  TempDir dir = TempDir::for_test();
  UniqueFd here = open_file(dir.path(), O_RDONLY | O_DIRECTORY);
  for (int i = 0; i < 3000; i++) {
    const char* name = i == 0 ? "tree" : "d";
    ASSERT_EQ(mkdirat(here.get(), name, 0755), 0);
    here = UniqueFd(openat(here.get(), name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  rlimit before, few{300, 300};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  few.rlim_max = before.rlim_max;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  remove_tree(dir / "tree");
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_FALSE(path_exists(dir / "tree"));
}

// A container's directory is removed by whoever ends it and by its monitor.
TEST(Beneath, TwoMayRemoveATree) {
  TempDir dir = TempDir::for_test();
  for (int round = 0; round < 200; round++) {
    for (const char* name : {"tree/upper/upper", "tree/a/b/c", "tree/d/e", "tree/f"})
      make_directories_on_host(dir / name);
    std::atomic<int> failed = 0;
    auto remove = [&] {
      try {
        remove_tree(dir / "tree");
      } catch (const Error& error) {
        failed++;
        ADD_FAILURE() << error.what();
      }
    };
    std::thread other(remove);
    remove();
    other.join();
    ASSERT_EQ(failed, 0) << round;
    EXPECT_FALSE(path_exists(dir / "tree"));
  }
}

}  // namespace corten
