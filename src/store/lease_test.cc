#include "store/lease.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/beneath.h"
#include "base/error.h"
#include "base/temp_dir.h"
#include "store/shelves.h"

namespace corten::store {

class LeaseTest : public testing::Test {
 protected:
  LeaseTest() {
    make_directories_on_host(root() + "/leases");
    make_directories_on_host(root() + "/tmp");
  }
  std::string root() const { return dir_.path(); }
  TempDir dir_ = TempDir::for_test();
};

// A log is there and its lock is not. Between the look and the removal somebody takes the lock: it must stay
// his.
TEST(Locks, OneThatWasJustTakenKeepsItsName) {
  TempDir dir = TempDir::for_test();
  const std::string path = dir / "key";
  std::atomic<bool> is_over = false;
  std::thread collector([&] {
    while (!is_over) remove_unused_locks(dir.path());
  });
  int lost = 0;
  for (int round = 0; round < 400; round++) {
    FileLock lock;
    if (!FileLock::try_exclusive(path, lock)) continue;
    UniqueFd log(open((path + ".log").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    for (int look = 0; look < 3; look++) {
      sched_yield();
      if (!path_exists(path)) lost++;
    }
    unlink(path.c_str());
  }
  is_over = true;
  collector.join();
  EXPECT_EQ(lost, 0);
}

TEST_F(LeaseTest, WhatIsHeldIsRead) {
  Lease lease(root());
  EXPECT_EQ(lease.id(), "") << "nothing is made before something is held";
  LeasesRead leases(root());
  leases.read();
  lease.hold(Held::kLayer, Digest::of("a"));
  EXPECT_FALSE(leases.names(Held::kLayer, Digest::of("a")));
  EXPECT_EQ(leases.read().size(), 1u);
  EXPECT_TRUE(leases.names(Held::kLayer, Digest::of("a")));
  EXPECT_FALSE(leases.names(Held::kContent, Digest::of("a")));
  std::vector<Digest> many = {Digest::of("a"), Digest::of("b"), Digest::of("c")};
  lease.hold(Held::kContent, many);
  lease.hold(Held::kContent, many);
  EXPECT_EQ(leases.read().size(), 3u) << "what is held is written once";
}

TEST_F(LeaseTest, AnEndedLeaseStaysWhileSomebodyCollects) {
  LeasesRead leases(root());
  std::string id;
  {
    FileLock collector = FileLock::exclusive(collector_lock_path(root()));
    {
      Lease lease(root());
      lease.hold(Held::kLayer, Digest::of("a"));
      id = lease.id();
    }
    leases.read();
    EXPECT_TRUE(leases.names(Held::kLayer, Digest::of("a")));
    EXPECT_TRUE(sweep_dead_leases(root()));
    EXPECT_TRUE(path_exists(root() + "/leases/" + id));
  }
  sweep_dead_leases(root());
  EXPECT_FALSE(path_exists(root() + "/leases/" + id));
}

TEST_F(LeaseTest, NobodyHoldsAnythingWhileTheGateIsClosed) {
  Lease lease(root());
  lease.hold(Held::kLayer, Digest::of("first"));
  LeasesRead leases(root());
  leases.read();
  std::thread other;
  {
    ClosedGate gate(root());
    other = std::thread([&] { lease.hold(Held::kLayer, Digest::of("second")); });
    usleep(50'000);
    leases.read();
    EXPECT_FALSE(leases.names(Held::kLayer, Digest::of("second")));
  }
  other.join();
  leases.read();
  EXPECT_TRUE(leases.names(Held::kLayer, Digest::of("second")));
}

TEST_F(LeaseTest, AKilledProcessLeavesADeadLeaseAndALivingOneStays) {
  Lease ours(root());
  write_file_atomic(ours.temporary() + "/used", "x");
  pid_t child = fork();
  if (child == 0) {
    Lease lease(root());
    write_file_atomic(lease.temporary() + "/left", "x");
    raise(SIGKILL);
  }
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_EQ(names_in(root() + "/tmp").size(), 2u);
  EXPECT_TRUE(sweep_dead_leases(root()));
  EXPECT_EQ(names_in(root() + "/tmp"), std::vector<std::string>{ours.id()});
  EXPECT_TRUE(path_exists(ours.temporary() + "/used"));
  EXPECT_FALSE(sweep_dead_leases(root()));
}

TEST_F(LeaseTest, AForkedChildDoesNotEndItsParentsLease) {
  Lease lease(root());
  lease.hold(Held::kLayer, Digest::of("a"));
  pid_t child = fork();
  if (child == 0) {
    lease.end();
    _exit(0);
  }
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(path_exists(root() + "/leases/" + lease.id()));
  EXPECT_FALSE(sweep_dead_leases(root()));
}

TEST_F(LeaseTest, ARecordThatWasCutIsNone) {
  Lease lease(root());
  lease.hold(Held::kLayer, Digest::of("a"));
  UniqueFd file = open_file(root() + "/leases/" + lease.id(), O_WRONLY | O_APPEND);
  write_fully(file.get(), "l123", "lease");
  LeasesRead leases(root());
  EXPECT_EQ(leases.read().size(), 1u);
}

// A lock on a file that was taken away keeps nobody out.
TEST_F(LeaseTest, ALockIsOnTheFileThatHasTheName) {
  std::string path = root() + "/lock";
  FileLock first = FileLock::exclusive(path);
  std::thread other([&] {
    FileLock second = FileLock::exclusive(path);
    FileLock third;
    EXPECT_FALSE(FileLock::try_exclusive(path, third));
  });
  usleep(50'000);
  unlink(path.c_str());
  first.release();
  other.join();
}

}  // namespace corten::store
