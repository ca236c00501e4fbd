#include "build/cache_memory.h"

#include <gtest/gtest.h>

#include "base/temp_dir.h"

namespace corten::build {

class CacheMemoryTest : public testing::Test {
 protected:
  SeenTimes see(const SeenPaths& paths, int64_t now_s, bool is_empty = false) {
    CacheMemory memory(dir_.path());
    return memory.begin(paths, is_empty, now_s * 1'000'000'000);
  }
  static Digest d(std::string_view text) { return Digest::of(text); }
  static constexpr int64_t kSecond = 1'000'000'000;
  const RootfsPath a_{"a"}, b_{"b"};
  TempDir dir_ = TempDir::for_test();
};

TEST_F(CacheMemoryTest, AnEmptyMountKnowsEverythingAsFirstSeen) {
  EXPECT_TRUE(see({{a_, d("1")}}, 100, true).empty());
  EXPECT_TRUE(see({{a_, d("1")}}, 200).empty());
}

TEST_F(CacheMemoryTest, AnEditAppearsNowAndKeepsItsTime) {
  see({{a_, d("1")}, {b_, d("1")}}, 100, true);
  SeenTimes times = see({{a_, d("2")}, {b_, d("1")}}, 200);
  EXPECT_EQ(times, (SeenTimes{{a_, 200 * kSecond}}));
  EXPECT_EQ(see({{a_, d("2")}, {b_, d("1")}}, 300), times);
}

TEST_F(CacheMemoryTest, ARevertIsAChangeToo) {
  see({{a_, d("1")}}, 100, true);
  see({{a_, d("2")}}, 200);
  EXPECT_EQ(see({{a_, d("1")}}, 300), (SeenTimes{{a_, 300 * kSecond}}));
}

TEST_F(CacheMemoryTest, AbsenceDropsTheRecord) {
  see({{a_, d("1")}, {b_, d("1")}}, 100, true);
  see({{a_, d("1")}}, 200);
  EXPECT_EQ(see({{a_, d("1")}, {b_, d("1")}}, 300), (SeenTimes{{b_, 300 * kSecond}}));
}

TEST_F(CacheMemoryTest, ANewTimeIsLaterThanAllThatWereShown) {
  see({{a_, d("1")}}, 100, true);
  see({{a_, d("2")}}, 200);
  EXPECT_EQ(see({{a_, d("3")}}, 50), (SeenTimes{{a_, 201 * kSecond}}));
}

TEST_F(CacheMemoryTest, AfterConcurrentUseAllIsNow) {
  see({{a_, d("1")}}, 100, true);
  {
    CacheMemory first(dir_.path());
    EXPECT_TRUE(first.begin({{a_, d("1")}}, false, 200 * kSecond).empty());
    EXPECT_EQ(see({{a_, d("1")}}, 300), (SeenTimes{{a_, 300 * kSecond}}));
  }
  EXPECT_EQ(see({{a_, d("1")}}, 400), (SeenTimes{{a_, 400 * kSecond}}));
  EXPECT_EQ(see({{a_, d("1")}}, 500), (SeenTimes{{a_, 400 * kSecond}}));
}

TEST_F(CacheMemoryTest, ADamagedRecordIsUnknown) {
  see({{a_, d("1")}}, 100, true);
  write_file_atomic(dir_ / "seen", "corten-seen-1\nrubbish");
  EXPECT_EQ(see({{a_, d("1")}}, 200), (SeenTimes{{a_, 200 * kSecond}}));
}

}  // namespace corten::build
