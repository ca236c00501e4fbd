// The chain of places in which Amazon's tools look for credentials, and what each of them said.
//
// The order is the AWS CLI's (botocore credentials.py): variables, a web identity, the profile (a role, SSO,
// keys, or a program: aws_profile.cc), a container's address, the instance's metadata (IMDSv2 alone). A
// source that is not set up gives nothing and says why; one that is set up and broken ends the search, since
// what a later one gave would be somebody else.
#pragma once
#include <string>

#include "base/clock.h"
#include "http/client.h"
#include "registry/cloud/aws_config.h"
#include "registry/cloud/sigv4.h"
#include "registry/cloud/source_chain.h"

namespace corten::registry::cloud {

using CredentialSearch = SourceSearch<AwsCredentials>;

struct AwsContext {
  http::Client& http;  // for STS
  const Clock& clock;
  Environment environment = system_environment();
};

// Whether they end within a minute: who goes on looks for new ones.
bool is_expiring(const AwsCredentials& credentials, const Clock& clock);

// `region`: of STS.
CredentialSearch search_credentials(const AwsContext& context, const std::string& region);

// Error(kPermission) with every source and why it gave nothing; ends with what to run. Nothing is sent to a
// service that needs them.
AwsCredentials require_credentials(const AwsContext& context, const std::string& region);

}  // namespace corten::registry::cloud
