#include "registry/retry.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "http/date.h"

namespace corten::registry {

namespace {

constexpr int64_t kYear = 365 * 24 * 3600;

}  // namespace

bool is_worth_a_retry(unsigned status) {
  for (unsigned known : {408u, 429u, 499u, 500u, 502u, 503u, 504u, 522u})
    if (status == known) return true;
  return false;
}

std::optional<int64_t> parse_retry_after(std::string_view value, int64_t now_s) {
  value = trim(value);
  const bool is_number =
      !value.empty() && std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (is_number) return value.size() > 9 ? kYear : *parse_int(value);
  const auto date = http::parse_date(value, now_s);
  if (!date) return std::nullopt;
  return std::max<int64_t>(0, *date - now_s);
}

int64_t pause_after(int attempt, const RetryRules& rules, uint32_t random) {
  int64_t pause = rules.first_pause_ms;
  for (int i = 1; i < attempt && pause < rules.longest_pause_ms; i++) pause *= 3;
  pause = std::min(pause, rules.longest_pause_ms);
  const int64_t tenth = pause / 10;
  return tenth == 0 ? pause
                    : pause - tenth + static_cast<int64_t>(random % static_cast<uint64_t>(2 * tenth + 1));
}

int64_t pause_after(const http::Response& answer, int attempt, const RetryRules& rules, int64_t now_s,
                    uint32_t random) {
  const int64_t own = pause_after(attempt, rules, random);
  const auto wanted = parse_retry_after(answer.field("Retry-After"), now_s);
  if (!wanted) return own;
  if (*wanted > rules.longest_wait_s)
    throw Error(ErrorCode::kIo,
                fmt::format("{}: it answered {} and wants {} of waiting (more than {} are not waited)",
                            answer.url, answer.status, format_duration(*wanted * 1'000'000'000),
                            format_duration(rules.longest_wait_s * 1'000'000'000)))
        .with_hint(answer.status == 429 ? "this is a rate limit: log in, use a mirror, or try again then"
                                        : "try again then");
  return std::max(own, *wanted * 1000);
}

void wait_for_retry(int64_t pause_ms, const Cancellation& cancellation) {
  constexpr int64_t kSliceMs = 50;
  const int64_t end = monotonic_ns() + pause_ms * 1'000'000;
  while (true) {
    cancellation.check();
    const int64_t left_ms = (end - monotonic_ns()) / 1'000'000;
    if (left_ms <= 0) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(std::min(left_ms, kSliceMs)));
  }
}

}  // namespace corten::registry
