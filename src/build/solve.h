// From a plan to layers: each step is looked up by its key, and executed when nobody has done it before.
//
// docs/solver.md tells the states of a step and what they promise. The first failure cancels the rest.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "build/events.h"
#include "build/layer_time.h"
#include "build/plan.h"
#include "build/run.h"

namespace corten::build {

struct StepResult {
  StageRootfs rootfs;
  bool was_cached = false;
  Digest key;
};

struct BuildResult {
  Plan plan;
  std::vector<StepResult> steps;  // by step id
  StageRootfs rootfs(const TargetPlan& target) const;
  size_t cached_steps = 0, executed_steps = 0;
};

// Error of the first step that failed, with the place of its instruction; Error(kCancelled) when cancelled.
// Events may be called from any thread.
BuildResult solve(Plan plan, Sources& sources, Executor& executor, Events& events);

}  // namespace corten::build
