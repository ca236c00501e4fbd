#include "build/foresight.h"

#include <algorithm>

namespace corten::build {

Foresight::Foresight(const Plan& plan, const std::vector<bool>& known)
    : needed_(plan.steps.size()), taken_(plan.steps.size()) {
  auto is_known = [&](StepId id) {
    return static_cast<size_t>(id) < known.size() && known[static_cast<size_t>(id)];
  };
  // Inputs stand before users, so one way down finds all that is needed.
  for (const TargetPlan& target : plan.targets)
    if (target.stage.result != kNoStep) needed_[static_cast<size_t>(target.stage.result)] = true;
  for (auto step = plan.steps.rbegin(); step != plan.steps.rend(); ++step) {
    if (!needed_[static_cast<size_t>(step->id)]) continue;
    for (const StepId input : step->inputs())
      if (!is_known(step->id) || input == step->base) needed_[static_cast<size_t>(input)] = true;
  }
  for (const Step& step : plan.steps) {
    const std::vector<StepId> inputs = step.inputs();
    taken_[static_cast<size_t>(step.id)] =
        !is_skipped(step.id) &&
        std::any_of(inputs.begin(), inputs.end(), [&](StepId input) { return is_skipped(input); });
    skips_ |= taken_[static_cast<size_t>(step.id)];
  }
}

}  // namespace corten::build
