// Amazon's Security Token Service: who we are, and keys for a role. Its query protocol (botocore
// data/sts/2011-06-15): a form is sent, XML comes back.
#pragma once
#include <string>

#include "base/clock.h"
#include "http/client.h"
#include "registry/cloud/aws_config.h"
#include "registry/cloud/sigv4.h"

namespace corten::registry::cloud {

struct CallerIdentity {
  std::string account, arn, user_id;
};

struct AssumedRole {
  std::string arn, session_name, external_id;
};

struct Sts {
  http::Client& http;
  const Clock& clock;
  const Environment& environment;
  std::string region;

  // Error(kPermission) when the keys are no longer, or never were, good.
  CallerIdentity caller_identity(const AwsCredentials& credentials) const;
  AwsCredentials assume_role(const AwsCredentials& credentials, const AssumedRole& role) const;
  // With the token of a web identity; nothing is signed.
  AwsCredentials assume_role_with_web_identity(const AssumedRole& role, const std::string& token) const;

 private:
  std::string call(const std::vector<std::pair<std::string, std::string>>& members,
                   const AwsCredentials* credentials) const;
};

// The words that system 2's people know, with what the service said before them; ends with what to run.
[[noreturn]] void fail_invalid_credentials(const std::string& why, const std::string& run = "aws configure");
// Whether a service's error says that the keys themselves are bad.
bool is_about_credentials(std::string_view error_type);

}  // namespace corten::registry::cloud
