// What bounds a RUN, and what is said when it went past a bound: the limit by name, its value, what was used.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "build/run.h"
#include "sandbox/cgroup.h"
#include "sandbox/process.h"

namespace corten::build {

// Error(kUnsupported) names a limit of the request that cannot be enforced on this machine: tried, so that a
// build is refused before its first step.
void check_limits(const Request& request);

// Of one process: its control group and its time.
class RunLimits {
 public:
  // `store`: the directory whose disk the step writes to.
  RunLimits(const Request& request, std::string store);
  void add_to(sandbox::Spec& spec) const;

  // Waits until the process has ended; kills it when its time is over.
  sandbox::Exit wait(sandbox::Process& process);
  // After wait(): the error of an exit that is no success, BuildKit's words first, then what is known of the
  // cause.
  Error failure(const std::string& command, const sandbox::Exit& exit) const;

 private:
  std::string ulimit_text(int signal, int64_t processor_ns) const;
  const Request& request_;
  std::string store_;
  std::optional<sandbox::ControlGroup> group_;
  uint64_t kills_before_;
  sandbox::ControlGroup::Use use_;
  bool is_late_ = false;
};

}  // namespace corten::build
