// Registries of clouds hand out their own short-lived credentials: who has the cloud's keys needs no login.
#pragma once
#include <optional>
#include <string>

#include "registry/cloud/aws_credentials.h"

namespace corten::registry::cloud {

// For HTTP Basic.
struct CloudCredential {
  std::string user, password, source;
};

// For a host of Amazon ECR, a token by way of the credential chain; nothing for every other host. Error as
// require_credentials(): no request is sent without credentials. Not remembered: it costs a request.
std::optional<CloudCredential> cloud_credentials(const std::string& host, const AwsContext& context);

}  // namespace corten::registry::cloud
