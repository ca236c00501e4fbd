#include "registry/error_body.h"

#include <gtest/gtest.h>

namespace corten::registry {
namespace {

TEST(ErrorBody, TheSpecificationsForm) {
  const std::string body =
      R"({"errors":[{"code":"DENIED","message":"no","detail":{"a":1}},{"code":"NAME_UNKNOWN","detail":"gone"}]})";
  EXPECT_EQ(error_text(body), "DENIED: no; NAME_UNKNOWN: gone");
  EXPECT_TRUE(has_code(parse_error_body(body), "NAME_UNKNOWN"));
  EXPECT_FALSE(has_code(parse_error_body(body), "NAME"));
}

TEST(ErrorBody, WhatTokenServersAndProxiesSay) {
  EXPECT_EQ(error_text(R"({"error":"invalid_grant","error_description":"expired"})"),
            "invalid_grant: expired");
  EXPECT_EQ(error_text(R"({"message":"slow down"})"), "slow down");
  EXPECT_EQ(error_text("<html>\n<h1>502</h1>\n\nBad Gateway\n"), "Bad Gateway");
  EXPECT_EQ(error_text(""), "");
  EXPECT_EQ(error_text("{}"), "");
  EXPECT_EQ(error_text(R"({"errors":null})"), "");
}

// A terminal must never obey a registry.
TEST(ErrorBody, NoEscapesAndNoFloods) {
  const std::string text =
      error_text("{\"errors\":[{\"code\":\"X\\u001b[2J\",\"message\":\"a\\nb\\u001b]0;t\\u0007\"}]}");
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_EQ(text.find('\n'), std::string::npos);
  EXPECT_EQ(text.find('\a'), std::string::npos);
  EXPECT_LT(error_text("{\"errors\":[{\"message\":\"" + std::string(60'000, 'x') + "\"}]}").size(), 600u);
  std::string many = "{\"errors\":[";
  for (int i = 0; i < 1000; i++) many += R"({"code":"A"},)";
  many += R"({"code":"A"}]})";
  EXPECT_EQ(parse_error_body(many).size(), 10u);
}

}  // namespace
}  // namespace corten::registry
