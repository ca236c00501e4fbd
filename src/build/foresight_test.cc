#include "build/foresight.h"

#include <gtest/gtest.h>

namespace corten::build {
namespace {

// 0 FROM, 1 RUN on 0; 2 FROM, 3 COPY --from=1 on 2, 4 RUN on 3, which mounts `mounted`.
Plan two_stages(StepId mounted = kNoStep) {
  Plan plan;
  for (StepId id = 0; id < 5; id++) {
    Step step;
    step.id = id;
    step.base = id == 1 ? 0 : id > 2 ? id - 1 : kNoStep;
    if (id == 1 || id == 4) step.work = RunStep();
    if (id == 3) step.work = CopyStep{.from = {TreeRef::Kind::kStep, 1, ""}};
    plan.steps.push_back(std::move(step));
  }
  if (mounted != kNoStep)
    std::get<RunStep>(plan.steps[4].work).mounts.push_back({.from = {TreeRef::Kind::kStep, mounted, ""}});
  plan.targets.emplace_back();
  plan.targets[0].stage.result = 4;
  return plan;
}

std::vector<bool> known(std::initializer_list<StepId> ids) {
  std::vector<bool> list(5);
  for (const StepId id : ids) list[static_cast<size_t>(id)] = true;
  return list;
}

TEST(Foresight, AStageThatOnlyAKnownStepReadsIsSkipped) {
  const Plan plan = two_stages();
  const Foresight foresight(plan, known({3}));
  EXPECT_FALSE(foresight.empty());
  for (const StepId id : {0, 1}) EXPECT_TRUE(foresight.is_skipped(id)) << id;
  for (const StepId id : {2, 3, 4}) EXPECT_FALSE(foresight.is_skipped(id)) << id;
  EXPECT_TRUE(foresight.is_taken(3));
  EXPECT_FALSE(foresight.is_taken(4)) << "it has no input but what it stands on";
}

TEST(Foresight, AStageThatAnotherStepReadsTooIsNot) {
  const Plan plan = two_stages(1);
  EXPECT_TRUE(Foresight(plan, known({3})).empty());
  EXPECT_FALSE(Foresight(plan, known({3, 4})).empty());
}

// What is known without having other inputs than its base is found in the usual way.
TEST(Foresight, NothingKnownSkipsNothing) {
  const Plan plan = two_stages();
  EXPECT_TRUE(Foresight(plan, {}).empty());
  EXPECT_TRUE(Foresight(plan, known({1, 4})).empty());
  for (StepId id = 0; id < 5; id++) EXPECT_FALSE(Foresight(plan, {}).is_skipped(id));
}

}  // namespace
}  // namespace corten::build
