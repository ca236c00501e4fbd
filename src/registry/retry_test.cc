#include "registry/retry.h"

#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/error.h"
#include "http/server_test.h"

namespace corten::registry {
namespace {

const int64_t kThen = *parse_rfc3339("1994-11-06T08:49:37Z");

TEST(Retry, RetryAfter) {
  EXPECT_EQ(parse_retry_after("120", 0), 120);
  EXPECT_EQ(parse_retry_after(" 0 ", 0), 0);
  EXPECT_GT(*parse_retry_after("99999999999999999999999", 0), 86400);
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", kThen - 30), 30);
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", kThen + 30), 0);
  for (const char* text : {"", "-1", "1.5", "soon", "1s"})
    EXPECT_EQ(parse_retry_after(text, 0), std::nullopt);
}

TEST(Retry, PausesGrowAndAreScattered) {
  const RetryRules rules;
  for (uint32_t random : {0u, 77u, 0xFFFFFFFFu}) {
    EXPECT_NEAR(static_cast<double>(pause_after(1, rules, random)), 1000, 100);
    EXPECT_NEAR(static_cast<double>(pause_after(2, rules, random)), 3000, 300);
    EXPECT_NEAR(static_cast<double>(pause_after(50, rules, random)), 30'000, 3000);
  }
  EXPECT_NE(pause_after(1, rules, 3), pause_after(1, rules, 4));
  EXPECT_EQ(pause_after(3, {.first_pause_ms = 1}, 5), 9);
}

TEST(Retry, WhatTheServerWantsUpToALimit) {
  http::Response answer;
  answer.url = "https://r.test/v2/";
  answer.status = 429;
  EXPECT_LT(pause_after(answer, 1, {}, 0, 0), 2000);
  answer.fields = {{"retry-after", "20"}};
  EXPECT_EQ(pause_after(answer, 1, {}, 0, 0), 20'000);
  answer.fields = {{"Retry-After", "86400"}};
  std::string words;
  EXPECT_EQ(http::code_of([&] { pause_after(answer, 1, {}, 0, 0); }, &words), ErrorCode::kIo);
  EXPECT_EQ(
      words,
      "https://r.test/v2/: it answered 429 and wants 24h0m0s of waiting (more than 5m0s are not waited)");
}

TEST(Retry, Statuses) {
  for (unsigned status : {408u, 429u, 500u, 502u, 503u, 504u, 499u, 522u})
    EXPECT_TRUE(is_worth_a_retry(status));
  for (unsigned status : {200u, 400u, 401u, 403u, 404u, 413u, 416u, 501u})
    EXPECT_FALSE(is_worth_a_retry(status));
}

}  // namespace
}  // namespace corten::registry
