#include "registry/cloud/sigv4.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>

#include "base/strings.h"
#include "http/url.h"

namespace corten::registry::cloud {
namespace {

constexpr int64_t kTime = 1'440'938'160;  // 2015-08-30T12:36:00Z, the suite's

// The files of the suite by name.
std::map<std::string, std::string> vectors() {
  std::ifstream in("tests/conformance/registry/aws4_testsuite.txt", std::ios::binary);
  std::stringstream all;
  all << in.rdbuf();
  std::map<std::string, std::string> files;
  std::string text = all.str();
  for (size_t at = text.find("\n=== ") + 1; at != std::string::npos && at < text.size();) {
    size_t end = text.find('\n', at);
    auto words = split_words(text.substr(at, end - at));
    size_t size = static_cast<size_t>(*parse_int(words.at(2)));
    files[words[1]] = replace_all(text.substr(end + 1, size), "\r", "");
    at = end + 1 + size + 1;
  }
  return files;
}

std::string decoded(std::string_view text) {
  return http::percent_decode(text);
}

// A request of the suite: "GET /path?a=b HTTP/1.1", fields of which a line may be continued, a body.
struct Read {
  RequestToSign request;
  std::string body;
};
Read read_request(const std::string& text) {
  Read read;
  size_t end = text.find("\n\n");
  if (end != std::string::npos) read.body = text.substr(end + 2);
  auto lines = split(text.substr(0, end), '\n');
  size_t method = lines[0].find(' '), version = lines[0].rfind(' ');
  read.request.method = lines[0].substr(0, method);
  std::string target = lines[0].substr(method + 1, version - method - 1);
  size_t question = target.find('?');
  read.request.path = target.substr(0, question);
  if (question != std::string::npos)
    for (const std::string& pair : split(target.substr(question + 1), '&')) {
      size_t equals = pair.find('=');
      read.request.query.emplace_back(decoded(pair.substr(0, equals)), decoded(pair.substr(equals + 1)));
    }
  for (size_t i = 1; i < lines.size(); i++) {
    if (lines[i].empty()) continue;
    if (lines[i][0] == ' ') {
      read.request.fields.back().second += "\n" + lines[i];
      continue;
    }
    size_t colon = lines[i].find(':');
    read.request.fields.emplace_back(lines[i].substr(0, colon), lines[i].substr(colon + 1));
  }
  return read;
}

TEST(SigV4, AmazonsTestSuite) {
  auto files = vectors();
  int count = 0;
  for (const auto& [name, text] : files) {
    if (!name.ends_with(".req")) continue;
    SCOPED_TRACE(name);
    std::string stem = name.substr(0, name.size() - 4);
    Read read = read_request(text);
    read.request.body = read.body;
    AwsCredentials credentials{"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "", ""};
    const std::string& canonical = files.at(stem + ".creq");
    if (size_t at = canonical.find("x-amz-security-token:"); at != std::string::npos)
      credentials.session_token = canonical.substr(at + 21, canonical.find('\n', at) - at - 21);
    SignedScope scope{"us-east-1", "service", kTime};
    Pairs fields = sign_request(read.request, credentials, scope);
    ASSERT_EQ(fields.back().first, "Authorization");
    EXPECT_EQ(fields.back().second, files.at(stem + ".authz"));
    RequestToSign signed_request = read.request;
    signed_request.fields.assign(fields.begin(), fields.end() - 1);
    EXPECT_EQ(canonical_request(signed_request), canonical);
    EXPECT_EQ(string_to_sign(canonical, scope), files.at(stem + ".sts"));
    count++;
  }
  EXPECT_EQ(count, 34);
}

TEST(SigV4, EveryPartOfTheScopeCounts) {
  RequestToSign request{.fields = {{"Host", "api.ecr.eu-west-1.amazonaws.com"}}, .body = "{}"};
  AwsCredentials who{"AKIDEXAMPLE", "secret", "", ""};
  std::string base = authorization_field(request, who, {"eu-west-1", "ecr", kTime});
  EXPECT_NE(base, authorization_field(request, who, {"eu-west-2", "ecr", kTime}));
  EXPECT_NE(base, authorization_field(request, who, {"eu-west-1", "sts", kTime}));
  EXPECT_NE(base, authorization_field(request, who, {"eu-west-1", "ecr", kTime + 1}));
  request.body = "{ }";
  EXPECT_NE(base, authorization_field(request, who, {"eu-west-1", "ecr", kTime}));
  EXPECT_EQ(base.find("secret"), std::string::npos);
}

// S3's keys are taken as they are, and its requests may say their body's digest themselves.
TEST(SigV4, ForS3) {
  RequestToSign request{.method = "PUT", .path = "/a//b/../c d", .normalizes_path = false};
  request.fields = {{"Host", "h"}, {"X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"}};
  std::string canonical = canonical_request(request);
  EXPECT_NE(canonical.find("\n/a//b/../c%20d\n"), std::string::npos);
  EXPECT_TRUE(canonical.ends_with("\nUNSIGNED-PAYLOAD"));
}

// RFC 2104: keys beyond the block are hashed; what a self-made store of objects hands out may be long.
TEST(SigV4, LongSecrets) {
  RequestToSign request{.fields = {{"Host", "h"}}};
  std::string a = authorization_field(request, {"A", std::string(100, 'x'), "", ""}, {"r", "s", kTime});
  std::string b = authorization_field(request, {"A", std::string(101, 'x'), "", ""}, {"r", "s", kTime});
  EXPECT_NE(a, b);
}

}  // namespace
}  // namespace corten::registry::cloud
