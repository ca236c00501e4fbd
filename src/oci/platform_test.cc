#include "oci/platform.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace corten::oci {
namespace {

const Platform kHost{.os = "linux", .architecture = "amd64"};

Platform parse(std::string_view text) {
  return parse_platform(text, kHost);
}

TEST(Platform, ParseAndNormaliseDiffer) {
  struct Case {
    std::string text, parsed, normal;
  };
  for (const Case& c : std::initializer_list<Case>{{"linux/arm", "linux/arm", "linux/arm/v7"},
                                                   {"linux/arm/v7", "linux/arm/v7", "linux/arm/v7"},
                                                   {"linux/arm/7", "linux/arm/v7", "linux/arm/v7"},
                                                   {"linux/armhf", "linux/arm", "linux/arm/v7"},
                                                   {"linux/armel", "linux/arm/v6", "linux/arm/v6"},
                                                   {"linux/arm64", "linux/arm64", "linux/arm64"},
                                                   {"linux/arm64/v8", "linux/arm64/v8", "linux/arm64"},
                                                   {"linux/aarch64/9.0", "linux/arm64/v9", "linux/arm64/v9"},
                                                   {"Linux/x86_64", "linux/amd64", "linux/amd64"},
                                                   {"linux/amd64/v1", "linux/amd64", "linux/amd64"},
                                                   {"linux/amd64/v3", "linux/amd64/v3", "linux/amd64/v3"},
                                                   {"linux/i386", "linux/386", "linux/386"},
                                                   {"macos/arm64", "darwin/arm64", "darwin/arm64"},
                                                   {"linux", "linux/amd64", "linux/amd64"},
                                                   {"windows", "windows/amd64", "windows/amd64"},
                                                   {"s390x", "linux/s390x", "linux/s390x"},
                                                   {"x86-64", "linux/amd64", "linux/amd64"},
                                                   {"made/up", "made/up", "made/up"}}) {
    EXPECT_EQ(parse(c.text).format(), c.parsed) << c.text;
    EXPECT_EQ(parse(c.text).normalized().format(), c.normal) << c.text;
  }
}

TEST(Platform, VersionsAndFeatures) {
  Platform windows = parse("windows(10.0.20348+win32k+x)/amd64");
  EXPECT_EQ(windows.os_version, "10.0.20348");
  EXPECT_EQ(windows.os_features, (std::vector<std::string>{"win32k", "x"}));
  EXPECT_EQ(windows.format(), "windows/amd64");
  EXPECT_EQ(windows.format_all(), "windows(10.0.20348+win32k+x)/amd64");
  EXPECT_EQ(parse("linux(+f)/arm/v6").format_all(), "linux(+f)/arm/v6");
  EXPECT_EQ(parse("linux/arm/v7").directory_name(), "linux_arm_v7");
  EXPECT_EQ(Platform{}.format(), "unknown");
  EXPECT_EQ(platform_from_json(platform_to_json(windows)), windows);
  EXPECT_EQ(platform_to_json(parse("linux/arm/v6")).dump(),
            R"({"architecture":"arm","os":"linux","variant":"v6"})");
}

TEST(Platform, Refuses) {
  auto problem = [](std::string_view text) -> std::string {
    try {
      return "accepted as " + parse(text).format();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalid);
      return error.message();
    }
  };
  EXPECT_EQ(problem("foo"), "\"foo\": unknown operating system or architecture: invalid argument");
  EXPECT_EQ(problem("linux/*"), "\"linux/*\": wildcards not yet supported: invalid argument");
  EXPECT_EQ(problem("a/b/c/d"), "\"a/b/c/d\": cannot parse platform specifier: invalid argument");
  for (const char* text : {"", "/", "linux/", "linux//v7", "linux/a b", "linux(/amd64", "linux)/amd64",
                           "linux(a b)/amd64", "linux(1+)/amd64"})
    EXPECT_NE(problem(text).find("invalid"), std::string::npos) << text;
}

TEST(Platform, RanksWhatRuns) {
  auto order = [](std::string_view text) {
    std::string list;
    for (const Platform& p : platform_candidates(parse(text))) list += p.format().substr(6) + " ";
    return list;
  };
  EXPECT_EQ(order("linux/amd64"), "amd64 386 ");
  EXPECT_EQ(order("linux/amd64/v3"), "amd64/v3 amd64/v2 amd64 386 ");
  EXPECT_EQ(order("linux/arm"), "arm/v7 arm/v6 arm/v5 ");
  EXPECT_EQ(order("linux/arm64"), "arm64 arm/v8 arm/v7 arm/v6 arm/v5 ");
  EXPECT_EQ(order("linux/arm64/v8.2"), "arm64/v8.2 arm64/v8.1 arm64 arm/v8 arm/v7 arm/v6 arm/v5 ");
  EXPECT_EQ(order("linux/arm64/v9.1"),
            "arm64/v9.1 arm64/v9 arm64/v8.6 arm64/v8.5 arm64/v8.4 arm64/v8.3 arm64/v8.2 arm64/v8.1 arm64 "
            "arm/v8 arm/v7 arm/v6 arm/v5 ");
  EXPECT_EQ(order("linux/riscv64"), "riscv64 ");
  EXPECT_EQ(platform_rank(parse("linux/arm/v7"), parse("linux/arm/v7")), 0);
  EXPECT_EQ(platform_rank(parse("linux/arm/v7"), parse("linux/arm/v5")), 2);
  EXPECT_FALSE(platform_rank(parse("linux/arm/v6"), parse("linux/arm/v7")));
  EXPECT_FALSE(platform_rank(parse("linux/amd64"), parse("windows/amd64")));
  EXPECT_TRUE(platform_rank(parse("windows(10.0.20348)/amd64"), parse("windows(10.0.20348.2227)/amd64")));
  EXPECT_FALSE(platform_rank(parse("windows(10.0.17763)/amd64"), parse("windows(10.0.20348.2227)/amd64")));
}

TEST(Platform, HostIsNormal) {
  Platform host = host_platform();
  EXPECT_EQ(host.os, "linux");
  EXPECT_FALSE(host.architecture.empty());
  EXPECT_EQ(host, host.normalized());
}

}  // namespace
}  // namespace corten::oci
