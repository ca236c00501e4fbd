#include "base/strings.h"

#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/suggest.h"

namespace corten {

TEST(Strings, Split) {
  EXPECT_EQ(split("a,,b", ','), (std::vector<std::string>{"a", "", "b"}));
  EXPECT_EQ(split("", ','), (std::vector<std::string>{""}));
  EXPECT_EQ(split_words("  a\tb \n"), (std::vector<std::string>{"a", "b"}));
}

TEST(Strings, QuoteHidesControlCharacters) {
  EXPECT_EQ(quote("\xc2\x9b"
                  "2J\x7f"),
            "\"\\u009b2J\\x7f\"");
  EXPECT_EQ(quote("a\"b\\c\n\x1b[31m\xff é"), "\"a\\\"b\\\\c\\n\\x1b[31m\\xff é\"");
  EXPECT_EQ(printable("a\x1b[2J\tb\n\xc2\x9bz\xff"), "a\\x1b[2J\tb\n\\xc2\\x9bz\\xff");
  EXPECT_EQ(printable("a\u202eb\u2066\u2014"), "a\\xe2\\x80\\xaeb\\xe2\\x81\\xa6\u2014") << "order kept";
}

TEST(Strings, Numbers) {
  EXPECT_EQ(parse_int("-12"), -12);
  EXPECT_FALSE(parse_int("12x"));
  EXPECT_FALSE(parse_int(""));
  EXPECT_FALSE(parse_int("99999999999999999999"));
  EXPECT_EQ(parse_octal("755"), 0755u);
  EXPECT_FALSE(parse_octal("8"));
}

TEST(Strings, SizesAsDockerPrintsThem) {
  EXPECT_EQ(human_size(0), "0B");
  EXPECT_EQ(human_size(7049000), "7.049MB");
  EXPECT_EQ(human_size(123456789), "123.5MB");
  EXPECT_EQ(parse_size("128m"), 128u << 20);
  EXPECT_EQ(parse_size("1.5GiB"), 1536ull << 20);
  EXPECT_EQ(parse_decimal_size("100MB"), 100'000'000u);
  EXPECT_EQ(parse_decimal_size("1KiB"), 1024u);
  EXPECT_FALSE(parse_size("m"));
  EXPECT_FALSE(parse_size("5x"));
}

TEST(Strings, Base64) {
  for (std::string text : {"", "a", "ab", "abc", "abcd"}) EXPECT_EQ(base64_decode(base64_encode(text)), text);
  EXPECT_EQ(base64_encode("ab"), "YWI=");
  EXPECT_FALSE(base64_decode("a$"));
}

TEST(Suggest, NearNames) {
  std::vector<std::string> names = {"FROM", "RUN", "ENTRYPOINT"};
  EXPECT_EQ(suggest("FNTRYPOINT", names), "ENTRYPOINT");
  EXPECT_EQ(did_you_mean("FORM", names), " (did you mean FROM?)");
  EXPECT_EQ(suggest("RNU", names), "RUN");
  EXPECT_FALSE(suggest("VOLUME", names));
  EXPECT_FALSE(suggest("RUN", names));
}

TEST(Clock, Rfc3339AndDurations) {
  EXPECT_EQ(format_rfc3339(1700000000), "2023-11-14T22:13:20Z");
  EXPECT_EQ(parse_rfc3339("2023-11-14T22:13:20Z"), 1700000000);
  EXPECT_EQ(parse_rfc3339("2023-11-14T23:13:20.123+01:00"), 1700000000);
  EXPECT_FALSE(parse_rfc3339("2023-11-14"));
  EXPECT_EQ(parse_duration("1m30s"), 90'000'000'000);
  EXPECT_EQ(parse_duration("1.5s"), 1'500'000'000);
  EXPECT_FALSE(parse_duration("5"));
  EXPECT_EQ(format_duration(90'000'000'000), "1m30s");
  EXPECT_EQ(format_duration(1'500'000), "1.5ms");
}

}  // namespace corten
