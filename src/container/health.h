// HEALTHCHECK as a machine without hands: it says when to probe and what the results mean (moby,
// daemon/health.go; Dockerfile reference, HEALTHCHECK). Who runs the probes is the monitor.
#pragma once
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "oci/config.h"

namespace corten::container {

enum class HealthStatus { kNone, kStarting, kHealthy, kUnhealthy };
std::string_view health_name(HealthStatus status);  // "none", "starting", ...

struct ProbeResult {
  int64_t started_ns = 0, finished_ns = 0;
  int exit_code = 0;   // -1: it took too long, or could not be started
  std::string output;  // the first 4096 bytes, valid UTF-8
};

struct Health {
  HealthStatus status = HealthStatus::kNone;
  int64_t failing_streak = 0;
  std::deque<ProbeResult> log;  // the last five
};
Json to_json(const Health& health);  // Docker's State.Health
Health health_from_json(const Json& json);

// Times are nanoseconds of one clock of the caller's. Not thread-safe.
class HealthMachine {
 public:
  static constexpr size_t kMaxOutputBytes = 4096;

  HealthMachine(const oci::Healthcheck& check, std::vector<std::string> shell, int64_t started_ns);

  // Whether there is anything to probe: not for an empty test or NONE.
  static bool has_probe(const std::optional<oci::Healthcheck>& check);

  std::vector<std::string> argv() const;
  int64_t timeout_ns() const;
  // How long after the start, or after a probe's end, the next one begins.
  int64_t pause_ns(int64_t now_ns) const;
  void take(ProbeResult result);
  const Health& health() const { return health_; }

 private:
  bool in_start_period(int64_t now_ns) const;

  oci::Healthcheck check_;
  std::vector<std::string> shell_;
  int64_t started_ns_;
  Health health_;
};

}  // namespace corten::container
