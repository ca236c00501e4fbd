// Runs a container's health check in it, and writes down what came of it.
#pragma once
#include <optional>
#include <string>

#include "base/clock.h"
#include "container/container.h"
#include "container/event_loop.h"
#include "container/health.h"
#include "sandbox/process.h"

namespace corten::container {

// Probes from its making until it is destroyed. `init` must outlive it.
class Prober {
 public:
  Prober(const Container& container, const sandbox::Process& init, const Clock& clock, EventLoop& loop);
  ~Prober();
  Prober(const Prober&) = delete;

 private:
  void write_down();
  void wait_for_next();
  void begin();
  void collect();
  void time_out();
  void end(int exit_code, std::string_view note);

  const Container& container_;
  const sandbox::Process& init_;
  const Clock& clock_;
  EventLoop& loop_;
  HealthMachine machine_;
  std::optional<sandbox::Process> probe_;
  UniqueFd output_;
  ProbeResult result_;
  uint64_t timer_ = 0;
};

}  // namespace corten::container
