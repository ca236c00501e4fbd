#include "registry/cloud/aws_credentials.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/strings.h"
#include "registry/cloud/aws_machine_test.h"
#include "registry/cloud/cloud_credentials.h"

namespace corten::registry::cloud {
namespace {

using http::answer;

constexpr const char* kId = "AKIAIOSFODNN7EXAMPLE";
constexpr const char* kSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

TEST(AwsCredentials, NoneListsEverySourceAndEndsWithWhatToRun) {
  Machine machine;
  try {
    require_credentials(machine.context(), "eu-west-1");
    FAIL();
  } catch (const Error& error) {
    std::string words = error.what();
    for (const char* part :
         {"environment: AWS_ACCESS_KEY_ID is not set", "web identity: AWS_WEB_IDENTITY_TOKEN_FILE is not set",
          "profile: profile \"default\" is neither in ",
          "container: neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
          "instance metadata: AWS_EC2_METADATA_DISABLED is true"})
      EXPECT_TRUE(has(words, part)) << part << "\n" << words;
    EXPECT_TRUE(words.ends_with("\nAWS CLI is not configured or credentials are invalid"));
    EXPECT_EQ(error.hint(), "Please run: aws configure");
    EXPECT_EQ(error.code(), ErrorCode::kPermission);
  }
}

TEST(AwsCredentials, VariablesGoFirst) {
  Machine machine;
  machine.file("credentials",
               "[default]\naws_access_key_id = AKIAOTHEROTHEROTHER1\naws_secret_access_key = s\n");
  machine.set("AWS_ACCESS_KEY_ID", kId);
  machine.set("AWS_SECRET_ACCESS_KEY", kSecret);
  machine.set("AWS_SESSION_TOKEN", "token");
  auto found = machine.search().found;
  ASSERT_TRUE(found);
  EXPECT_EQ(found->access_key, kId);
  EXPECT_EQ(found->secret_key, kSecret);
  EXPECT_EQ(found->session_token, "token");
}

// A half of a pair, or a key that can be none, ends the search: what came later would be somebody else.
TEST(AwsCredentials, BrokenVariablesEndTheSearchAndAreNotShown) {
  Machine machine;
  machine.file("credentials",
               "[default]\naws_access_key_id = AKIAOTHEROTHEROTHER1\naws_secret_access_key = s\n");
  machine.set("AWS_ACCESS_KEY_ID", kId);
  EXPECT_FALSE(machine.search().found);
  EXPECT_TRUE(has(machine.why("environment"), "AWS_SECRET_ACCESS_KEY is not"));
  machine.set("AWS_ACCESS_KEY_ID", "invalid");
  machine.set("AWS_SECRET_ACCESS_KEY", "invalid-secret");
  EXPECT_FALSE(machine.search().found);
  EXPECT_FALSE(has(machine.why("environment"), "invalid-secret"));
  machine.set("AWS_ACCESS_KEY_ID", kId);
  machine.set("AWS_SECRET_ACCESS_KEY", "a\r\nX-Evil: 1");
  EXPECT_FALSE(machine.search().found);
  EXPECT_FALSE(has(machine.why("environment"), "Evil"));
}

TEST(AwsCredentials, AWebIdentityIsNotSigned) {
  std::string seen;
  http::Server sts([&](const std::string& request) {
    seen = request;
    return answer("200 OK",
                  "<Credentials><AccessKeyId>ASIAWEBWEBWEBWEBWEB1</AccessKeyId><SecretAccessKey>s"
                  "</SecretAccessKey><SessionToken>t</SessionToken></Credentials>");
  });
  Machine machine;
  machine.set("AWS_ENDPOINT_URL_STS", sts.url(""));
  machine.set("AWS_WEB_IDENTITY_TOKEN_FILE", machine.file("token", "the.web.token\n"));
  EXPECT_TRUE(has(machine.why("web identity"), "AWS_ROLE_ARN is not"));
  machine.set("AWS_ROLE_ARN", "arn:aws:iam::1:role/r");
  auto found = machine.search().found;
  ASSERT_TRUE(found);
  EXPECT_EQ(found->access_key, "ASIAWEBWEBWEBWEBWEB1");
  EXPECT_TRUE(has(seen, "WebIdentityToken=the.web.token"));
  EXPECT_FALSE(has(seen, "Authorization"));
}

TEST(AwsCredentials, ARefusedWebIdentityEndsTheSearch) {
  http::Server sts([&](const std::string&) {
    return answer("403 Forbidden",
                  "<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not authorized</Message>"
                  "</Error></ErrorResponse>");
  });
  Machine machine;
  machine.set("AWS_ENDPOINT_URL_STS", sts.url(""));
  machine.set("AWS_ROLE_ARN", "arn:aws:iam::1:role/r");
  machine.set("AWS_WEB_IDENTITY_TOKEN_FILE", machine.file("token", "the.web.token"));
  machine.file("credentials",
               fmt::format("[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n", kId, kSecret));
  EXPECT_FALSE(machine.search().found);
  EXPECT_TRUE(has(machine.why("web identity"), "AccessDenied: Not authorized"));
  EXPECT_FALSE(has(machine.why("web identity"), "the.web.token"));
}

TEST(AwsCredentials, ContainersAreAskedOnThisMachineAlone) {
  std::string seen;
  http::Server server([&](const std::string& request) {
    seen = request;
    return answer("200 OK", R"({"AccessKeyId":"ASIACONTAINERCONTAIN","SecretAccessKey":"s","Token":"t"})");
  });
  Machine machine;
  machine.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url("/creds?id=1"));
  machine.set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", machine.file("pod", "pod-token\n"));
  auto found = machine.search().found;
  ASSERT_TRUE(found) << machine.why("container");
  EXPECT_EQ(found->session_token, "t");
  EXPECT_TRUE(has(seen, "Authorization: pod-token\r\n"));
  for (const char* address :
       {"http://192.0.2.1/creds", "http://127.0.0.1.evil.invalid/", "file:///etc/passwd"}) {
    machine.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", address);
    EXPECT_TRUE(has(machine.why("container"), "without TLS only this machine")) << machine.why("container");
  }
}

TEST(AwsCredentials, TheInstanceByItsSecondMetadataService) {
  std::vector<std::string> seen;
  http::Server server([&](const std::string& request) {
    seen.push_back(request.substr(0, request.find(" HTTP")));
    if (request.starts_with("PUT /latest/api/token ")) {
      EXPECT_TRUE(has(to_lower(request), "x-aws-ec2-metadata-token-ttl-seconds: 21600"));
      return answer("200 OK", "imds-token");
    }
    if (!has(to_lower(request), "x-aws-ec2-metadata-token: imds-token"))
      return answer("401 Unauthorized", "");
    if (request.starts_with("GET /latest/meta-data/iam/security-credentials/ "))
      return answer("200 OK", "builder\n");
    return answer(
        "200 OK",
        R"({"Code":"Success","AccessKeyId":"ASIAINSTANCEINSTANCE","SecretAccessKey":"s","Token":"t"})");
  });
  Machine machine;
  machine.set("AWS_EC2_METADATA_DISABLED", "");
  machine.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url(""));
  auto search = machine.search();
  ASSERT_TRUE(search.found) << search.tried.back().why;
  EXPECT_EQ(search.found->source, "this machine's role \"builder\"");
  EXPECT_EQ(seen.size(), 3u);
  EXPECT_EQ(search.tried.size(), 4u);
}

TEST(AwsCredentials, NoMetadataServiceIsSaid) {
  http::Server server([&](const std::string&) { return answer("404 Not Found", ""); });
  Machine machine;
  machine.set("AWS_EC2_METADATA_DISABLED", "");
  machine.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url(""));
  EXPECT_TRUE(has(machine.why("instance metadata"), "gave no token: 404"));
}

TEST(CloudCredentials, ForHostsOfEcrAlone) {
  int requests = 0;
  http::Server ecr([&](const std::string& request) {
    requests++;
    EXPECT_TRUE(has(request, "X-Amz-Target: AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"));
    return answer("200 OK", R"({"authorizationData":[{"authorizationToken":"QVdTOnBhc3M=","expiresAt":1.7e9,)"
                            R"("proxyEndpoint":"https://123456789012.dkr.ecr.eu-west-1.amazonaws.com"}]})");
  });
  Machine machine;
  machine.set("AWS_ENDPOINT_URL_ECR", ecr.url(""));
  EXPECT_FALSE(cloud_credentials("ghcr.io", machine.context()));
  EXPECT_FALSE(cloud_credentials("123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.org", machine.context()));
  // Without credentials nothing is sent.
  EXPECT_THROW(cloud_credentials("123456789012.dkr.ecr.eu-west-1.amazonaws.com", machine.context()), Error);
  EXPECT_EQ(requests, 0);
  machine.set("AWS_ACCESS_KEY_ID", kId);
  machine.set("AWS_SECRET_ACCESS_KEY", kSecret);
  auto credential = cloud_credentials("123456789012.dkr.ecr.eu-west-1.amazonaws.com", machine.context());
  ASSERT_TRUE(credential);
  EXPECT_EQ(credential->user, "AWS");
  EXPECT_EQ(credential->password, "pass");
}

}  // namespace
}  // namespace corten::registry::cloud
