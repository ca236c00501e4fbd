#include "sandbox/id_mapping.h"

#include <gtest/gtest.h>

namespace corten::sandbox {
namespace {

TEST(SubIds, FirstRangeByNameOrNumber) {
  const char* text = "# comment\nother:1:2\njoe:100000:65536\njoe:300000:10\n1000:5:6\n";
  auto range = parse_subids(text, "joe", 1000);
  ASSERT_TRUE(range);
  EXPECT_EQ(range->start, 100000u);
  EXPECT_EQ(range->count, 65536u);
  EXPECT_EQ(parse_subids(text, "", 1000)->start, 5u);
  EXPECT_FALSE(parse_subids(text, "nobody", 7));
}

TEST(SubIds, LinesThatMeanNothingAreSkipped) {
  for (const char* text : {"joe", "joe:1", "joe:x:5", "joe:5:0", "joe:-1:5", "joe:4294967290:100",
                           "joe:1:99999999999", "joe:1:2:3", "", "\n\n"})
    EXPECT_FALSE(parse_subids(text, "joe", 1)) << text;
  EXPECT_EQ(parse_subids("joe:x:5\njoe:7:8", "joe", 1)->start, 7u);
}

TEST(SubIds, NamesOfUsers) {
  EXPECT_EQ(parse_user_name("root:x:0:0::/root:/bin/sh\njoe:x:1000:1000::/:/bin/sh\n", 1000), "joe");
  EXPECT_EQ(parse_user_name("root:x:0", 1000), "");
}

TEST(IdMapping, ItsName) {
  EXPECT_EQ(IdMapping{}.to_string(), "root");
  IdMapping mapping;
  mapping.uids = mapping.gids = {{.inside = 0, .outside = 1000, .count = 1},
                                 {.inside = 1, .outside = 100000, .count = 65536}};
  EXPECT_EQ(mapping.to_string(), "1000,100000+65536");
  EXPECT_EQ(mapping.usable_ids(), 65537u);
  EXPECT_TRUE(mapping.has(65536, 0));
  EXPECT_FALSE(mapping.has(65537, 0));
  EXPECT_TRUE(IdMapping{}.has(4000000000, 4000000000));
  mapping.gids[0].outside = 100;
  EXPECT_EQ(mapping.to_string(), "1000,100000+65536/100,100000+65536");
  mapping.uids = {{.inside = 5, .outside = 6, .count = 7}};
  EXPECT_EQ(mapping.to_string(), "5:6+7/100,100000+65536");
  EXPECT_EQ(mapping.usable_ids(), 0u);
}

TEST(IdMapping, ParsesTheKernelsForm) {
  const auto ranges =
      parse_id_map("         0       1000          1\n         1     100000      65536\nrubbish\n");
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_EQ(ranges[1], (IdRange{.inside = 1, .outside = 100000, .count = 65536}));
  EXPECT_EQ(parse_id_map("0 0 4294967295\n").size(), 1u);
  // Around the end, and beyond it.
  EXPECT_TRUE(parse_id_map("0 9490 4294966295\n4294967295 0 2\n0 1099511627776 1\n").empty());
}

}  // namespace
}  // namespace corten::sandbox
