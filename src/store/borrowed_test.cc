#include "store/borrowed.h"

#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/beneath.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "store/lease.h"

namespace corten::store {

class BorrowedTest : public testing::Test {
 protected:
  BorrowedTest() {
    make_directories_on_host(root() + "/leases");
    make_directories_on_host(temporary() + "/tree-1/root/a/b");
    make_directories_on_host(home());
    write_file_atomic(home() + "/kept", "kept");
  }
  std::string root() const { return dir_.path(); }
  std::string temporary() const { return dir_ / "tmp/0123456789abcdef"; }
  std::string home() const { return dir_ / "mounts/m/data"; }
  std::string away() const { return temporary() + "/tree-1/root/a/b/cache"; }
  void move(const std::string& from, const std::string& to) {
    ASSERT_EQ(rename(from.c_str(), to.c_str()), 0) << from;
  }
  bool is_home() const { return path_exists(home() + "/kept"); }

  TempDir dir_ = TempDir::for_test();
};

// As after a kill: the record is there, and nobody who takes anything back.
TEST_F(BorrowedTest, WhoSweepsMovesItHomeFromWhereverItIs) {
  auto* borrowed = new Borrowed(temporary(), home());
  write_file_atomic(root() + "/leases/0123456789abcdef", "");
  move(home(), away());
  move(temporary() + "/tree-1/root/a", temporary() + "/tree-1/root/renamed");
  EXPECT_TRUE(sweep_dead_leases(root()));
  EXPECT_TRUE(is_home());
  EXPECT_FALSE(path_exists(temporary()));
  EXPECT_FALSE(path_exists(root() + "/leases/0123456789abcdef"));
  delete borrowed;
  EXPECT_TRUE(is_home());
}

// Killed before it moved, or after it came back; and where somebody has made another meanwhile.
TEST_F(BorrowedTest, WhatIsAtHomeStays) {
  auto* borrowed = new Borrowed(temporary(), home());
  EXPECT_TRUE(rescue(temporary()));
  EXPECT_TRUE(is_home());
  move(home(), away());
  make_directories_on_host(home());
  EXPECT_TRUE(rescue(temporary()));
  EXPECT_FALSE(is_home());
  EXPECT_TRUE(path_exists(away() + "/kept"));
  delete borrowed;
}

TEST_F(BorrowedTest, ItsOwnerTakesItBackFromWhereTheStepMovedIt) {
  {
    Borrowed borrowed(temporary(), home());
    move(home(), temporary() + "/tree-1/root/elsewhere");
  }
  EXPECT_TRUE(is_home());
  EXPECT_EQ(rmdir((temporary() + "/tree-1/root/a/b").c_str()), 0);
  for (const char* name : {"borrowed-"}) EXPECT_FALSE(path_exists(temporary() + "/" + name));
}

TEST_F(BorrowedTest, ADirectoryThatCannotGoHomeIsNotRemoved) {
  auto* borrowed = new Borrowed(temporary(), home());
  write_file_atomic(root() + "/leases/0123456789abcdef", "");
  move(home(), away());
  move(root() + "/mounts", root() + "/mounts-that-went");
  sweep_dead_leases(root());
  EXPECT_TRUE(path_exists(away() + "/kept"));
  move(root() + "/mounts-that-went", root() + "/mounts");
  sweep_dead_leases(root());
  EXPECT_TRUE(is_home());
  delete borrowed;
}

TEST_F(BorrowedTest, SecretsAreOverwrittenWhereverTheyAre) {
  make_directories_on_host(temporary() + "/secrets-abcdef");
  write_file_atomic(temporary() + "/secrets-abcdef/1", "hush");
  ASSERT_EQ(link((temporary() + "/secrets-abcdef/1").c_str(), (root() + "/moved").c_str()), 0);
  EXPECT_TRUE(rescue(temporary()));
  EXPECT_EQ(read_file(root() + "/moved"), std::string(4, '\0'));
}

TEST_F(BorrowedTest, ARecordThatIsNoneIsPassedOver) {
  write_file_atomic(temporary() + "/borrowed-1", "corten-borrowed-1\nmounts/m/data\n");
  write_file_atomic(temporary() + "/borrowed-2", "corten-borrowed-1\n../../../etc\n12\n");
  EXPECT_TRUE(rescue(temporary()));
  EXPECT_TRUE(is_home());
}

}  // namespace corten::store
