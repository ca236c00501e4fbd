#include "build/single_flight.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/beneath.h"
#include "base/error.h"
#include "base/temp_dir.h"

namespace corten::build {
namespace {

const Digest kKey = Digest::of("a key");

struct Seen {
  std::string output, waits;
  FollowerWatch watch() {
    return {.output = [this](int, std::string_view bytes) { output += bytes; },
            .wait = [this](std::string_view text) { waits += std::string(text) + ";"; }};
  }
};

class SingleFlightTest : public testing::Test {
 protected:
  TempDir place_ = TempDir::for_test();
  SingleFlight one_{place_.path(), "one", {}};
  SingleFlight two_{place_.path(), "two", {}};

  // A follower in a thread, which began to follow before `lead` goes on.
  SingleFlight::Turn follow(Seen& seen, const std::function<void()>& lead) {
    SingleFlight::Turn turn;
    std::atomic<bool> is_following = false;
    FollowerWatch watch = seen.watch();
    auto inner = watch.wait;
    watch.wait = [&](std::string_view text) {
      inner(text);
      is_following = true;
    };
    std::thread follower([&] { turn = two_.take(kKey, watch); });
    while (!is_following) std::this_thread::yield();
    lead();
    follower.join();
    return turn;
  }
};

TEST_F(SingleFlightTest, WhoIsAloneLeadsAndLeavesNothing) {
  Seen seen;
  {
    auto turn = one_.take(kKey, seen.watch());
    EXPECT_EQ(turn.followed.end, Followed::End::kNobody);
    turn.lead->begin("one", "[1/1] RUN x");
    EXPECT_TRUE(path_exists(place_ / kKey.hex()));
  }
  EXPECT_FALSE(path_exists(place_ / kKey.hex()));
  EXPECT_FALSE(path_exists(place_ / (kKey.hex() + ".log")));
  EXPECT_EQ(seen.waits, "");
}

TEST_F(SingleFlightTest, AFollowerSeesTheLogAndHowItEnded) {
  Seen nobody, seen;
  auto leading = one_.take(kKey, nobody.watch());
  leading.lead->begin("one", "[1/1] RUN x");
  leading.lead->write(1, "before\n");
  auto turn = follow(seen, [&] {
    leading.lead->write(2, "after\n");
    leading.lead->ended(Lead::End::kFailed, "exit code: 3");
    leading.lead.reset();
  });
  EXPECT_EQ(seen.output, "before\nafter\n");
  EXPECT_EQ(turn.followed.end, Followed::End::kFailed);
  EXPECT_EQ(turn.followed.build, "one");
  EXPECT_EQ(turn.followed.error, "exit code: 3");
  EXPECT_EQ(seen.waits, "waiting for another build that runs the same step: build one, [1/1] RUN x;;");
}

TEST_F(SingleFlightTest, ALeadThatIsDroppedWasCancelled) {
  Seen nobody, seen;
  auto leading = one_.take(kKey, nobody.watch());
  leading.lead->begin("one", "s");
  EXPECT_EQ(follow(seen, [&] { leading.lead.reset(); }).followed.end, Followed::End::kCancelled);
}

TEST_F(SingleFlightTest, ALeaderThatDiesIsFollowedByTheNext) {
  Pipe ready = make_pipe();
  pid_t leader = fork();
  if (leader == 0) {
    Seen nobody;
    auto turn = one_.take(kKey, nobody.watch());
    turn.lead->begin("one", "s");
    turn.lead->write(1, "last words\n");
    write_fully(ready.write.get(), "x", "pipe");
    pause();
    _exit(0);
  }
  char byte;
  ASSERT_EQ(read_fully(ready.read.get(), &byte, 1, "pipe"), 1u);
  Seen seen;
  auto turn = follow(seen, [&] {
    kill(leader, SIGKILL);
    waitpid(leader, nullptr, 0);
  });
  EXPECT_EQ(turn.followed.end, Followed::End::kDied);
  EXPECT_EQ(seen.output, "last words\n");
  turn.lead->begin("two", "s");
}

TEST_F(SingleFlightTest, TheLockLivesAsLongAsWhoInheritedIt) {
  Seen nobody, seen;
  auto leading = one_.take(kKey, nobody.watch());
  leading.lead->begin("one", "s");
  UniqueFd inherited(dup(leading.lead->lock_fd()));
  // The leader's process is gone, so nothing of it was tidied up; its step lives.
  std::string lock = place_ / kKey.hex(), kept = lock + ".kept";
  ASSERT_EQ(link(lock.c_str(), kept.c_str()), 0);
  leading.lead.reset();
  ASSERT_EQ(rename(kept.c_str(), lock.c_str()), 0);
  auto turn = follow(seen, [&] { inherited.reset(); });
  EXPECT_TRUE(turn.lead);
}

TEST_F(SingleFlightTest, OneLeadsAtATime) {
  std::atomic<int> leaders = 0, most = 0, turns = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; i++)
    threads.emplace_back([&] {
      Seen seen;
      for (int n = 0; n < 5; n++) {
        auto turn = one_.take(kKey, seen.watch());
        int now = ++leaders;
        if (now > most) most = now;
        turn.lead->begin("one", "s");
        std::this_thread::yield();
        turns++;
        leaders--;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(most, 1);
  EXPECT_EQ(turns, 40);
}

TEST_F(SingleFlightTest, AFollowerGivesUpWhenItIsCancelled) {
  Seen nobody, seen;
  auto leading = one_.take(kKey, nobody.watch());
  Cancellation cancellation;
  SingleFlight impatient(place_.path(), "three", cancellation);
  FollowerWatch watch = seen.watch();
  watch.wait = [&](std::string_view) { cancellation.cancel(); };
  EXPECT_THROW(impatient.take(kKey, watch), Error);
}

TEST_F(SingleFlightTest, ALogThatIsNoneIsNotFollowed) {
  Seen nobody, seen;
  auto leading = one_.take(kKey, nobody.watch());
  leading.lead->begin("one", "s");
  leading.lead->write(1, "shown\n");
  auto turn = follow(seen, [&] {
    UniqueFd log = open_file(place_ / (kKey.hex() + ".log"), O_WRONLY | O_APPEND);
    write_fully(log.get(), std::string("h\x03\x00\x00\x00{x}", 8), "log");
    write_fully(log.get(), std::string("1\xff\xff\xff\xff rubbish", 12), "log");
    leading.lead.reset();
  });
  EXPECT_EQ(seen.output, "shown\n");
}

}  // namespace
}  // namespace corten::build
