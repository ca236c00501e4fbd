#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace corten {

TEST(ThreadPoolTest, RunsAllAndGivesBackTheFirstError) {
  std::atomic<int> done = 0;
  ThreadPool pool(3);
  for (int i = 0; i < 100; i++) pool.submit([&] { done++; });
  pool.wait();
  EXPECT_EQ(done, 100);
  pool.submit([] { fail(ErrorCode::kInvalid, "x"); });
  EXPECT_THROW(pool.wait(), Error);
  pool.wait();
}

TEST(ParallelFor, EachIndexOnce) {
  std::vector<std::atomic<int>> seen(1000);
  parallel_for(1000, 4, [&](size_t i) { seen[i]++; });
  for (auto& count : seen) EXPECT_EQ(count, 1);
  EXPECT_THROW(parallel_for(10, 2,
                            [](size_t i) {
                              if (i == 5) fail(ErrorCode::kInvalid, "five");
                            }),
               Error);
}

}  // namespace corten
