// Steps that nobody has to look at: a cache may know a step by what it is made of, before any file of its
// inputs is here. Then only what it stands on is needed; a stage that such steps alone take files from is
// not.
//
// Our own keys hold the contents of inputs, so a step is first looked up in the usual way. Only when a step
// would have to be executed that might be left out altogether, what caches foresee is asked, and the plan is
// solved again with it (docs/solver.md).
#pragma once
#include <vector>

#include "build/plan.h"

namespace corten::build {

// A value.
class Foresight {
 public:
  // `known`, by step: a cache has its layer, whatever its inputs but the base hold. Empty: none is.
  Foresight(const Plan& plan, const std::vector<bool>& known);
  bool empty() const { return !skips_; }
  // Nothing needs it.
  bool is_skipped(StepId id) const { return !needed_[static_cast<size_t>(id)]; }
  // Its layer is taken as the cache has it, since an input is skipped.
  bool is_taken(StepId id) const { return taken_[static_cast<size_t>(id)]; }

 private:
  std::vector<bool> needed_, taken_;
  bool skips_ = false;
};

}  // namespace corten::build
