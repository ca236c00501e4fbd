#include "http/date.h"

#include <gtest/gtest.h>

#include "base/clock.h"

namespace corten::http {
namespace {

const int64_t kThen = *parse_rfc3339("1994-11-06T08:49:37Z");

TEST(HttpDate, ThreeForms) {
  for (const char* text :
       {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"})
    EXPECT_EQ(parse_date(text, *parse_rfc3339("2026-01-01T00:00:00Z")), kThen) << text;
  EXPECT_EQ(parse_date("Tuesday, 01-Feb-28 00:00:00 GMT", kThen), *parse_rfc3339("2028-02-01T00:00:00Z"));
  for (const char* text :
       {"", "now", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 8:49 GMT", "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun Nov 6 08:49:37 94", "Sunday, 06-Nov-1994 08:49:37 GMT", "1994-11-06T08:49:37Z",
        "Sun, -6 Nov 1994 08:49:37 GMT"})
    EXPECT_EQ(parse_date(text, kThen), std::nullopt) << text;
}

}  // namespace
}  // namespace corten::http
