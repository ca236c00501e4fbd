#include "container/health.h"

#include "base/clock.h"
#include "base/error.h"

namespace corten::container {

namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr size_t kMaxLog = 5;

int64_t or_default(int64_t value, int64_t fallback) {
  return value > 0 ? value : fallback;
}

std::string time_text(int64_t ns) {
  return format_rfc3339(ns / kSecond, ns % kSecond);
}

}  // namespace

std::string_view health_name(HealthStatus status) {
  switch (status) {
    case HealthStatus::kStarting:
      return "starting";
    case HealthStatus::kHealthy:
      return "healthy";
    case HealthStatus::kUnhealthy:
      return "unhealthy";
    case HealthStatus::kNone:
      break;
  }
  return "none";
}

Json to_json(const Health& health) {
  Json log = Json::array();
  for (const ProbeResult& probe : health.log)
    log.push_back(Json::object({{"Start", time_text(probe.started_ns)},
                                {"End", time_text(probe.finished_ns)},
                                {"ExitCode", probe.exit_code},
                                {"Output", probe.output}}));
  return Json::object(
      {{"Status", health_name(health.status)}, {"FailingStreak", health.failing_streak}, {"Log", log}});
}

Health health_from_json(const Json& json) {
  Health health;
  std::string name = json.get_string("Status");
  for (HealthStatus status : {HealthStatus::kStarting, HealthStatus::kHealthy, HealthStatus::kUnhealthy})
    if (name == health_name(status)) health.status = status;
  health.failing_streak = json.get_int("FailingStreak");
  if (const Json* log = json.find("Log"))
    for (const Json& entry : log->as_array())
      health.log.push_back({parse_rfc3339(entry.get_string("Start")).value_or(0) * kSecond,
                            parse_rfc3339(entry.get_string("End")).value_or(0) * kSecond,
                            static_cast<int>(entry.get_int("ExitCode")), entry.get_string("Output")});
  return health;
}

HealthMachine::HealthMachine(const oci::Healthcheck& check, std::vector<std::string> shell,
                             int64_t started_ns)
    : check_(check), shell_(std::move(shell)), started_ns_(started_ns) {
  if (shell_.empty()) shell_ = {"/bin/sh", "-c"};
  health_.status = HealthStatus::kStarting;
}

bool HealthMachine::has_probe(const std::optional<oci::Healthcheck>& check) {
  return check && check->test.size() > 1 && (check->test[0] == "CMD" || check->test[0] == "CMD-SHELL");
}

std::vector<std::string> HealthMachine::argv() const {
  std::vector<std::string> words(check_.test.begin() + 1, check_.test.end());
  if (check_.test[0] == "CMD-SHELL") words.insert(words.begin(), shell_.begin(), shell_.end());
  return words;
}

int64_t HealthMachine::timeout_ns() const {
  return or_default(check_.timeout_ns, 30 * kSecond);
}

bool HealthMachine::in_start_period(int64_t now_ns) const {
  return health_.status == HealthStatus::kStarting && now_ns - started_ns_ < check_.start_period_ns;
}

int64_t HealthMachine::pause_ns(int64_t now_ns) const {
  return in_start_period(now_ns) ? or_default(check_.start_interval_ns, 5 * kSecond)
                                 : or_default(check_.interval_ns, 30 * kSecond);
}

void HealthMachine::take(ProbeResult result) {
  if (result.exit_code == 0) {
    health_.failing_streak = 0;
    health_.status = HealthStatus::kHealthy;
  } else if (!in_start_period(result.started_ns)) {
    health_.failing_streak++;
    if (health_.failing_streak >= or_default(check_.retries, 3)) health_.status = HealthStatus::kUnhealthy;
  }
  health_.log.push_back(std::move(result));
  if (health_.log.size() > kMaxLog) health_.log.pop_front();
}

}  // namespace corten::container
