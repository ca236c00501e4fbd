#include "base/recorded_owner.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/temp_dir.h"
#include "base/unique_fd.h"

namespace corten {
namespace {

TEST(RecordedOwner, TextGoesBothWays) {
  const RecordedOwner file{.uid = 1000, .gid = 50};
  EXPECT_EQ(file.to_string(), "1000:50");
  EXPECT_EQ(RecordedOwner::parse("1000:50"), file);
  const RecordedOwner disk{.uid = 0, .gid = 6, .device_type = S_IFBLK, .device_major = 8, .device_minor = 1};
  EXPECT_EQ(disk.to_string(), "0:6 b 8 1");
  EXPECT_EQ(RecordedOwner::parse("0:6 b 8 1"), disk);
}

// A step can write the attribute as it likes.
TEST(RecordedOwner, WhatWeWouldNotWriteIsNoRecord) {
  for (const char* text : {"", "1000", ":", "1:2:3", "-1:0", "4294967296:0", "0:0 c 1", "0:0 x 1 2",
                           "0:0 c 1 -2", "0:0  ", "a:b", "0:0 c 1 2 3"})
    EXPECT_FALSE(RecordedOwner::parse(text)) << text;
}

TEST(RecordedOwner, GoesWithTheFile) {
  TempDir directory = TempDir::for_test();
  const std::string file = directory / "file", moved = directory / "moved";
  write_file_atomic(file, "x");
  EXPECT_FALSE(read_recorded_owner(file.c_str()));
  ASSERT_EQ(write_recorded_owner(file.c_str(), {.uid = 7, .gid = 8}), 0);
  ASSERT_EQ(rename(file.c_str(), moved.c_str()), 0);
  EXPECT_EQ(read_recorded_owner(moved.c_str()), (RecordedOwner{.uid = 7, .gid = 8}));
  EXPECT_FALSE(read_recorded_owner(file.c_str()));
  EXPECT_NE(write_recorded_owner(file.c_str(), {}), 0);
}

}  // namespace
}  // namespace corten
