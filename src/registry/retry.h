// When a request is worth another try, and how long to wait before it.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/thread_pool.h"
#include "http/client.h"

namespace corten::registry {

struct RetryRules {
  int attempts = 5;
  int64_t first_pause_ms = 1000;  // three times as long each time, a tenth more or less
  int64_t longest_pause_ms = 30'000;
  int64_t longest_wait_s = 300;  // for which a Retry-After is obeyed
};

// 408, 429, 499, 500, 502, 503, 504, 522: what may pass.
bool is_worth_a_retry(unsigned status);

// Retry-After (RFC 9110, section 10.2.3): a number of seconds, or a date in one of its three forms. How long
// that is from now, 0 for what is past; nothing for what is neither.
std::optional<int64_t> parse_retry_after(std::string_view value, int64_t now_s);

// How long to wait after the failed attempt number `attempt` (from 1), in milliseconds. `random`: any number.
int64_t pause_after(int attempt, const RetryRules& rules, uint32_t random);

// The same after an answer that says how long itself. Error(kIo) when that is longer than the rules allow:
// the message says how long, so that it can be tried again then.
int64_t pause_after(const http::Response& answer, int attempt, const RetryRules& rules, int64_t now_s,
                    uint32_t random);

// Sleeps; Error(kCancelled) when it is cancelled meanwhile.
void wait_for_retry(int64_t pause_ms, const Cancellation& cancellation);

}  // namespace corten::registry
