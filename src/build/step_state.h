// The states of a step while a plan is solved. docs/solver.md draws them and says what each promises; this
// table and solve.cc are the same thing said to the compiler.
//
//   waiting --> keying --> keyed --> queued --> leading --> done, failed
//                  |         |         `--> cached, failed
//                  |         `--> cached, failed
//                  `--> failed
//
// and from each of them but the ends: cancelled; from keying, keyed and leading: lost.
#pragma once
#include <string_view>

#include "base/error.h"

namespace corten::build {

enum class StepState {
  kWaiting,    // for its inputs. Holds nothing
  kKeying,     // all inputs are done: it reads what it takes from them, and makes its key. Holds no lock
  kKeyed,      // looks for an action with this key
  kQueued,     // there was none: it wants the key's lock, and shows the log of whoever has it
  kLeading,    // it has the lock, and still there was no action: it is executed
  kCached,     // an end: the action's layer
  kDone,       // an end: a new layer, and the action is recorded
  kFailed,     // an end
  kCancelled,  // an end: the user, or another step's failure
  kLost,       // an end of this pass: a layer that it needs was known to lie elsewhere, and is not there; or
               // the step itself may be left out
};

constexpr bool is_end(StepState state) {
  return state >= StepState::kCached;
}

constexpr bool may_follow(StepState from, StepState to) {
  if (is_end(from)) return false;
  if (to == StepState::kCancelled) return true;
  switch (from) {
    case StepState::kWaiting:
      return to == StepState::kKeying;
    case StepState::kKeying:
      return to == StepState::kKeyed || to == StepState::kFailed || to == StepState::kLost;
    case StepState::kKeyed:
      return to == StepState::kCached || to == StepState::kFailed || to == StepState::kQueued ||
             to == StepState::kLost;
    case StepState::kQueued:
      return to == StepState::kCached || to == StepState::kFailed || to == StepState::kLeading;
    default:
      return to == StepState::kDone || to == StepState::kFailed || to == StepState::kLost;
  }
}

constexpr std::string_view state_name(StepState state) {
  constexpr std::string_view kNames[] = {"waiting", "keying", "keyed",  "queued",    "leading",
                                         "cached",  "done",   "failed", "cancelled", "lost"};
  return kNames[static_cast<int>(state)];
}

// Where a step is. Error(kInternal) for a way that the table does not have.
class StepLife {
 public:
  StepState state() const { return state_; }
  void enter(StepState next) {
    if (!may_follow(state_, next))
      fail(ErrorCode::kInternal, "a step cannot go from {} to {}", state_name(state_), state_name(next));
    state_ = next;
  }

 private:
  StepState state_ = StepState::kWaiting;
};

}  // namespace corten::build
