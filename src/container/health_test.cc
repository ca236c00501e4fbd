#include "container/health.h"

#include <gtest/gtest.h>

namespace corten::container {

constexpr int64_t kSecond = 1'000'000'000;

static oci::Healthcheck check() {
  return {.test = {"CMD-SHELL", "ask"},
          .interval_ns = 10 * kSecond,
          .timeout_ns = 2 * kSecond,
          .start_period_ns = 20 * kSecond,
          .start_interval_ns = kSecond,
          .retries = 2};
}

static ProbeResult probe(int64_t second, int code) {
  return {second * kSecond, second * kSecond + 1, code, ""};
}

TEST(Health, FailuresInTheStartPeriodDoNotCount) {
  HealthMachine machine(check(), {}, 0);
  EXPECT_EQ(machine.argv(), (std::vector<std::string>{"/bin/sh", "-c", "ask"}));
  EXPECT_EQ(machine.pause_ns(0), kSecond);
  for (int second = 1; second < 20; second++) machine.take(probe(second, 1));
  EXPECT_EQ(machine.health().status, HealthStatus::kStarting);
  EXPECT_EQ(machine.health().failing_streak, 0);
  EXPECT_EQ(machine.health().log.size(), 5u);
  EXPECT_EQ(machine.pause_ns(20 * kSecond), 10 * kSecond);
  machine.take(probe(20, 1));
  EXPECT_EQ(machine.health().status, HealthStatus::kStarting);
  machine.take(probe(30, 1));
  EXPECT_EQ(machine.health().status, HealthStatus::kUnhealthy);
  machine.take(probe(40, 0));
  EXPECT_EQ(machine.health().status, HealthStatus::kHealthy);
  EXPECT_EQ(machine.health().failing_streak, 0);
}

TEST(Health, OnceHealthyTheStartPeriodIsOver) {
  HealthMachine machine(check(), {"/bin/ash", "-ec"}, 0);
  EXPECT_EQ(machine.argv().front(), "/bin/ash");
  machine.take(probe(1, 0));
  EXPECT_EQ(machine.pause_ns(2 * kSecond), 10 * kSecond);
  machine.take(probe(2, -1));
  machine.take(probe(3, 2));
  EXPECT_EQ(machine.health().status, HealthStatus::kUnhealthy);
}

TEST(Health, DefaultsAreDockers) {
  HealthMachine machine({.test = {"CMD", "ask", "it"}}, {}, 0);
  EXPECT_EQ(machine.pause_ns(0), 30 * kSecond);
  EXPECT_EQ(machine.timeout_ns(), 30 * kSecond);
  for (int i = 0; i < 2; i++) machine.take(probe(i, 1));
  EXPECT_EQ(machine.health().status, HealthStatus::kStarting);
  machine.take(probe(3, 1));
  EXPECT_EQ(machine.health().status, HealthStatus::kUnhealthy);
  EXPECT_FALSE(HealthMachine::has_probe(oci::Healthcheck{.test = {"NONE"}}));
  EXPECT_FALSE(HealthMachine::has_probe(std::nullopt));
  Health copy = health_from_json(to_json(machine.health()));
  EXPECT_EQ(copy.status, HealthStatus::kUnhealthy);
  EXPECT_EQ(copy.log.size(), 3u);
}

}  // namespace corten::container
