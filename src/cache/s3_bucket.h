// A bucket that speaks Amazon S3's REST interface: requests, signed anew for each attempt, and what it
// refuses.
//
// Source: Amazon S3 API Reference; "Signature Calculations for the Authorization Header". Objects are asked
// for at BUCKET.ENDPOINT/KEY, or at ENDPOINT/BUCKET/KEY (path style: most servers that are not Amazon's, and
// names with a dot in TLS). A refusal shows the <Code> and <Message> of its XML alone: the rest repeats what
// was signed.
#pragma once
#include <mutex>
#include <optional>
#include <string>

#include "base/clock.h"
#include "cache/spec.h"
#include "http/client.h"
#include "registry/cloud/aws_credentials.h"
#include "registry/retry.h"

namespace corten::cache {

struct S3Options {
  registry::RetryRules retry = {};
  registry::cloud::Environment environment = registry::cloud::system_environment();
  uint64_t part_bytes = 64 << 20;  // of a larger object: each is sent, and sent again, by itself
  Cancellation cancellation = {};
};

struct S3Request {
  std::string method = "GET";
  std::string key;
  registry::cloud::Pairs query = {};
  http::Fields fields = {};
  std::optional<http::RequestBody> body = {};
  std::string payload = "UNSIGNED-PAYLOAD";  // or the body's SHA-256, which the server then verifies
};

// Thread-safe.
class S3Bucket {
 public:
  // Borrows the client and the clock. Error(kUsage) when nothing says the region.
  S3Bucket(const S3Spec& spec, http::Client& http, const Clock& clock, S3Options options);

  // After retries: any answer but 2xx, 206 and 404 is an Error. kPermission for 401 and 403, kIo for what may
  // pass, kFailed for the rest. A 404 is one too unless the object alone is missing.
  http::Response ask(const S3Request& request, std::string_view what);
  // The whole answer's body, at most `max_bytes`.
  std::string read(http::Response& response, size_t max_bytes) const;
  void wait_after_failure(int failures) const;

  const S3Options& options() const { return options_; }

 private:
  struct Refusal;
  http::Request signed_request(const S3Request& request);
  registry::cloud::AwsCredentials credentials();
  void forget_credentials();
  Refusal read_refusal(http::Response& response);
  Error error_of(const Refusal& refusal, std::string_view what) const;
  std::string without_keys(std::string text);

  const S3Spec spec_;
  http::Client& http_;
  const Clock& clock_;
  const S3Options options_;
  std::string region_;
  std::string endpoint_;   // scheme and authority, the bucket before it unless in path style
  std::string base_path_;  // ends in '/'
  std::mutex mutex_;
  std::optional<registry::cloud::AwsCredentials> credentials_;
};

}  // namespace corten::cache
