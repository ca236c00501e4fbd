// The sources of the chain in aws_credentials.h, each by itself: what it found, or why it gave nothing.
#pragma once
#include <string>

#include "registry/cloud/aws_config.h"
#include "registry/cloud/aws_credentials.h"
#include "registry/cloud/aws_sts.h"
#include "registry/cloud/source_chain.h"

namespace corten::registry::cloud {

using Said = SourceAnswer<AwsCredentials>;

Said from_variables(const AwsContext& context);
Said from_web_identity(const AwsContext& context, const std::string& region);
Said from_profile(const AwsContext& context, const std::string& region);  // aws_profile.cc
Said from_container(const AwsContext& context);
Said from_instance(const AwsContext& context);

// What a profile names. SSO: aws_sso.cc; credential_process: aws_process.cc.
Said by_sso(const AwsContext& context, const AwsProfile& profile);
Said by_process(const AwsContext& context, const AwsProfile& profile);
Said by_web_identity(const AwsContext& context, const std::string& region, const std::string& file,
                     const AssumedRole& role);

// The credentials when they can be some: what is none is never sent.
Said checked(const AwsContext& context, AwsCredentials credentials);
std::string session_name(const std::string& wanted);

}  // namespace corten::registry::cloud
