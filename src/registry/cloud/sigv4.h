// Amazon's Signature Version 4: how a request says who sends it. Pure: a function of the request, the
// credentials, the region, the service and the time.
//
// Source: AWS General Reference, "Signing AWS API requests"; checked with Amazon's test suite
// (tests/conformance/registry/aws4_testsuite.txt).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace corten::registry::cloud {

// Who asks. The secret and the token are never shown: not in an error, not in a log.
struct AwsCredentials {
  std::string access_key, secret_key;
  std::string session_token;  // "" for the keys of a user
  std::string source;         // where they come from, for people: "the environment"
  int64_t expires_s = 0;      // since 1970; 0: never, as far as was said
};

using Pairs = std::vector<std::pair<std::string, std::string>>;

struct SignedScope {
  std::string region, service;
  int64_t time_s = 0;  // since 1970
};

// What is signed, decoded: path and query as they are meant, not as they are sent.
struct RequestToSign {
  std::string method = "POST";
  std::string path = "/";
  Pairs query = {};
  Pairs fields = {};  // Host among them; all are signed
  std::string_view body = {};
  bool normalizes_path = true;  // false for S3, whose keys may hold "//" and ".."
};

// "20150830T123600Z".
std::string amz_date(int64_t time_s);

std::string canonical_request(const RequestToSign& request);
std::string string_to_sign(std::string_view canonical, const SignedScope& scope);
// The value of the field Authorization; `request` has all that is signed, X-Amz-Date too.
std::string authorization_field(const RequestToSign& request, const AwsCredentials& credentials,
                                const SignedScope& scope);

// The fields of the request with X-Amz-Date, X-Amz-Security-Token (with session credentials) and
// Authorization set, earlier ones of these names dropped.
Pairs sign_request(RequestToSign request, const AwsCredentials& credentials, const SignedScope& scope);

}  // namespace corten::registry::cloud
