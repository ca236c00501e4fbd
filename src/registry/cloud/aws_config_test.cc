#include "registry/cloud/aws_config.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "base/temp_dir.h"

namespace corten::registry::cloud {
namespace {

Environment of(std::map<std::string, std::string> values) {
  return [values = std::move(values)](const std::string& name) {
    auto at = values.find(name);
    return at == values.end() ? std::string() : at->second;
  };
}

TEST(AwsConfig, FilesAreReadAsBotocoreReadsThem) {
  auto sections = parse_aws_file(
      "# a comment\n[default]\naws_access_key_id = AKIA  \nregion=eu-west-3\ns3 =\n  signature_version = "
      "s3v4\n"
      "output = json\n\n[profile  \"my dev\"]\nREGION = x\n",
      "config");
  EXPECT_EQ(sections.at("default").at("aws_access_key_id"), "AKIA");
  EXPECT_EQ(sections.at("default").at("output"), "json");
  EXPECT_FALSE(sections.at("default").contains("signature_version"));
  EXPECT_EQ(sections.at("profile my dev").at("region"), "x");
}

TEST(AwsConfig, AMalformedLineIsNamedAndNotShown) {
  try {
    parse_aws_file("[default]\nwJalrXUtnFEMI\n", "/c");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("/c:2"), std::string::npos);
    EXPECT_EQ(std::string(error.what()).find("wJalr"), std::string::npos);
  }
  EXPECT_THROW(parse_aws_file("a = b\n", "/c"), Error);
  EXPECT_THROW(parse_aws_file("[x\n", "/c"), Error);
}

TEST(AwsConfig, HostsOfEcr) {
  auto host = parse_ecr_host("123456789012.dkr.ecr.eu-west-1.amazonaws.com");
  ASSERT_TRUE(host);
  EXPECT_EQ(host->account, "123456789012");
  EXPECT_EQ(host->region, "eu-west-1");
  EXPECT_EQ(parse_ecr_host("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn")->region, "cn-north-1");
  EXPECT_TRUE(parse_ecr_host("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com")->is_fips);
  for (const char* other :
       {"ghcr.io", "12345678901.dkr.ecr.eu-west-1.amazonaws.com",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.org",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com:443", "123456789012.dkr.ecr..amazonaws.com",
        "123456789012.dkr.ecr.EU_WEST.amazonaws.com", "x23456789012.dkr.ecr.eu-west-1.amazonaws.com", ""})
    EXPECT_FALSE(parse_ecr_host(other)) << other;
}

TEST(AwsConfig, RegionAndEndpoints) {
  TempDir dir = TempDir::for_test();
  std::ofstream(dir.path() + "/config")
      << "[default]\nregion = eu-north-1\n[profile p]\nregion = eu-south-1\n"
         "endpoint_url = http://127.0.0.1:1/\n";
  std::map<std::string, std::string> base = {{"AWS_CONFIG_FILE", dir.path() + "/config"},
                                             {"AWS_SHARED_CREDENTIALS_FILE", dir.path() + "/none"}};
  auto with = [&](std::map<std::string, std::string> more) {
    more.insert(base.begin(), base.end());
    return of(std::move(more));
  };
  EXPECT_EQ(configured_region(with({})), "eu-north-1");
  EXPECT_EQ(configured_region(with({{"AWS_PROFILE", "p"}})), "eu-south-1");
  EXPECT_EQ(configured_region(with({{"AWS_DEFAULT_REGION", "us-east-2"}})), "us-east-2");
  EXPECT_EQ(configured_region(with({{"AWS_DEFAULT_REGION", "us-east-2"}, {"AWS_REGION", "us-west-1"}})),
            "us-west-1");
  // A region becomes a part of a host's name.
  EXPECT_THROW(configured_region(with({{"AWS_REGION", "evil.org/"}})), Error);

  EXPECT_EQ(service_endpoint(with({}), "ecr", "eu-west-1"), "https://api.ecr.eu-west-1.amazonaws.com");
  EXPECT_EQ(service_endpoint(with({}), "sts", "cn-north-1"), "https://sts.cn-north-1.amazonaws.com.cn");
  EXPECT_EQ(service_endpoint(with({}), "sso", "eu-west-1"), "https://portal.sso.eu-west-1.amazonaws.com");
  EXPECT_EQ(service_endpoint(with({}), "sso-oidc", "eu-west-1"), "https://oidc.eu-west-1.amazonaws.com");
  EXPECT_EQ(service_endpoint(with({{"AWS_ENDPOINT_URL_SSO_OIDC", "http://127.0.0.1:4"}}), "sso-oidc", "r"),
            "http://127.0.0.1:4");
  EXPECT_EQ(service_endpoint(with({{"AWS_USE_FIPS_ENDPOINT", "true"}}), "ecr", "us-east-1"),
            "https://ecr-fips.us-east-1.amazonaws.com");
  auto own =
      with({{"AWS_ENDPOINT_URL", "http://127.0.0.1:2"}, {"AWS_ENDPOINT_URL_ECR", "http://127.0.0.1:3/"}});
  EXPECT_EQ(service_endpoint(own, "ecr", "r"), "http://127.0.0.1:3");
  EXPECT_EQ(service_endpoint(own, "sts", "r"), "http://127.0.0.1:2");
  EXPECT_EQ(service_endpoint(with({{"AWS_PROFILE", "p"}}), "ecr", "r"), "http://127.0.0.1:1");
  EXPECT_EQ(service_endpoint(with({{"AWS_ENDPOINT_URL", "http://127.0.0.1:2"},
                                   {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"}}),
                             "ecr", "eu-west-1"),
            "https://api.ecr.eu-west-1.amazonaws.com");
}

}  // namespace
}  // namespace corten::registry::cloud
