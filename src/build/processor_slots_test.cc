#include "build/processor_slots.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/temp_dir.h"

namespace corten::build {
namespace {

void silent(std::string_view) {}

TEST(ProcessorSlots, EachBuildHasOneOfItsOwn) {
  TempDir place = TempDir::for_test();
  ProcessorSlots one(place / "slots", 1, "one"), two(place / "slots", 1, "two");
  auto a = one.take("a", {}, silent);
  auto b = one.take("b", {}, silent);  // the shared one
  auto c = two.take("c", {}, silent);  // its own
  Cancellation cancelled;
  cancelled.cancel();
  EXPECT_THROW(two.take("d", cancelled, silent), Error);
  b = {};
  auto d = two.take("d", cancelled, silent);
}

TEST(ProcessorSlots, NoMoreThanThereAre) {
  TempDir place = TempDir::for_test();
  ProcessorSlots one(place / "slots", 2, "one");
  std::atomic<int> running = 0, most = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 12; i++)
    threads.emplace_back([&] {
      auto slot = one.take("x", {}, silent);
      int now = ++running;
      for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      running--;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most, 3);
}

TEST(ProcessorSlots, WhoWaitsIsToldByWhom) {
  TempDir place = TempDir::for_test();
  ProcessorSlots one(place / "slots", 1, "one");
  auto a = one.take("RUN a", {}, silent);
  auto b = one.take("RUN b", {}, silent);
  Cancellation cancellation;
  std::string told;
  EXPECT_THROW(one.take("RUN c", cancellation,
                        [&](std::string_view text) {
                          if (!text.empty()) told = text;
                          cancellation.cancel();
                        }),
               Error);
  EXPECT_EQ(told, "waiting for a processor: 2 steps are running, one by build one, RUN b");
}

TEST(ProcessorSlots, TheNumberCanBeSet) {
  EXPECT_EQ(steps_at_once(2), 4u);
  EXPECT_EQ(steps_at_once(64), 64u);
  setenv("CORTEN_MAX_STEPS", "1", 1);
  EXPECT_EQ(steps_at_once(64), 1u);
  setenv("CORTEN_MAX_STEPS", "many", 1);
  EXPECT_THROW(steps_at_once(64), Error);
  unsetenv("CORTEN_MAX_STEPS");
}

}  // namespace
}  // namespace corten::build
