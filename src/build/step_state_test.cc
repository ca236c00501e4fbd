#include "build/step_state.h"

#include <gtest/gtest.h>

namespace corten::build {
namespace {

constexpr StepState kAll[] = {StepState::kWaiting, StepState::kKeying,  StepState::kKeyed,
                              StepState::kQueued,  StepState::kLeading, StepState::kCached,
                              StepState::kDone,    StepState::kFailed,  StepState::kCancelled};

TEST(StepState, NothingFollowsAnEnd) {
  for (StepState from : kAll)
    for (StepState to : kAll)
      EXPECT_FALSE(is_end(from) && may_follow(from, to)) << state_name(from) << " " << state_name(to);
}

TEST(StepState, EveryStateBeforeTheEndCanBeCancelled) {
  for (StepState from : kAll) EXPECT_EQ(may_follow(from, StepState::kCancelled), !is_end(from));
}

TEST(StepState, OnlyALeaderMakesALayer) {
  for (StepState from : kAll)
    EXPECT_EQ(may_follow(from, StepState::kDone), from == StepState::kLeading) << state_name(from);
}

TEST(StepState, AHitNeedsAKeyAndNoLead) {
  for (StepState from : kAll)
    EXPECT_EQ(may_follow(from, StepState::kCached), from == StepState::kKeyed || from == StepState::kQueued)
        << state_name(from);
}

// Who waits for another build, or was done, is not looked at again.
TEST(StepState, APassCanEndBeforeAStepBegins) {
  for (StepState from : kAll)
    EXPECT_EQ(may_follow(from, StepState::kLost),
              from == StepState::kKeying || from == StepState::kKeyed || from == StepState::kLeading)
        << state_name(from);
}

TEST(StepState, AnUnknownWayIsRefused) {
  StepLife life;
  EXPECT_THROW(life.enter(StepState::kLeading), Error);
  for (StepState next :
       {StepState::kKeying, StepState::kKeyed, StepState::kQueued, StepState::kLeading, StepState::kDone})
    life.enter(next);
  EXPECT_THROW(life.enter(StepState::kLeading), Error);
}

}  // namespace
}  // namespace corten::build
