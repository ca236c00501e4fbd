#include "registry/challenge.h"

#include <gtest/gtest.h>

namespace corten::registry {
namespace {

TEST(Challenge, AsDockerHubSaysIt) {
  auto found = parse_challenges(
      R"(Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push")");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].scheme, "bearer");
  EXPECT_EQ(found[0].parameter("realm"), "https://auth.docker.io/token");
  EXPECT_EQ(found[0].parameter("service"), "registry.docker.io");
  EXPECT_EQ(found[0].parameter("scope"), "repository:a/b:pull,push");
  EXPECT_EQ(found[0].parameter("error"), "");
}

TEST(Challenge, SeveralInOneField) {
  auto found = parse_challenges(
      R"(Negotiate, NTLM YWJj==, BASIC Realm = "a \"b\" c, d" , bearer realm=https://x/t?a=b,service=s)");
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found[0].scheme, "negotiate");
  EXPECT_EQ(found[1].scheme, "ntlm");
  EXPECT_TRUE(found[1].parameters.empty());
  EXPECT_EQ(found[2].scheme, "basic");
  EXPECT_EQ(found[2].parameter("realm"), "a \"b\" c, d");
  EXPECT_EQ(found[3].parameter("realm"), "https://x/t?a=b");
  EXPECT_EQ(found[3].parameter("service"), "s");
}

TEST(Challenge, OddAndHostileOnes) {
  EXPECT_TRUE(parse_challenges("").empty());
  EXPECT_TRUE(parse_challenges(" , ,").empty());
  EXPECT_TRUE(parse_challenges("\"").empty());
  EXPECT_EQ(parse_challenges("Basic").size(), 1u);
  EXPECT_EQ(parse_challenges("Bearer realm=\"never closed").at(0).parameters.size(), 0u);
  EXPECT_EQ(parse_challenges("Bearer realm=\"a\x1b[2J\",service=s").at(0).parameter("realm"), "");
  EXPECT_EQ(parse_challenges("Bearer realm=\"a\x1b[2J\",service=s").at(0).parameter("service"), "s");
  std::string many;
  for (int i = 0; i < 1000; i++) many += "A b=c, ";
  EXPECT_EQ(parse_challenges(many).size(), 16u);
  many = "A ";
  for (int i = 0; i < 1000; i++) many += "b=c, ";
  EXPECT_EQ(parse_challenges(many).at(0).parameters.size(), 16u);
}

}  // namespace
}  // namespace corten::registry
