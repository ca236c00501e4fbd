#include "base/json.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace corten {

TEST(Json, KeepsOrderAndIntegers) {
  std::string text = R"({"b":1,"a":[true,null,"x\u00e9<"],"n":-9007199254740993})";
  Json value = Json::parse(text);
  EXPECT_EQ(value.get_int("n"), -9007199254740993);
  EXPECT_EQ(value.dump(), "{\"b\":1,\"a\":[true,null,\"x\xc3\xa9<\"],\"n\":-9007199254740993}");
  EXPECT_EQ(value.dump({.sort_keys = true, .escape_html = true}),
            "{\"a\":[true,null,\"x\xc3\xa9\\u003c\"],\"b\":1,\"n\":-9007199254740993}");
}

TEST(Json, RefusesWhatIsNotJson) {
  for (const char* bad : {"", "{", "{} x", "[1,]", "\"\xff\"", "{\"a\"}", "nul"})
    EXPECT_THROW(Json::parse(bad), Error) << bad;
  EXPECT_THROW(Json::parse(std::string(100'000, '[')), Error);
  EXPECT_THROW(Json::parse("[1,2,3]", 3), Error);
}

TEST(Json, LastMemberOfANameCounts) {
  EXPECT_EQ(Json::parse(R"({"a":1,"a":2})").get_int("a"), 2);
}

TEST(Json, WrongTypesAreErrors) {
  Json value = Json::parse(R"({"a":"x"})");
  EXPECT_THROW(value.get_int("a"), Error);
  EXPECT_EQ(value.get_string("missing", "d"), "d");
}

}  // namespace corten
