// Registries of clouds hand out their own short-lived credentials: who has the cloud's keys needs no login.
#pragma once
#include <optional>
#include <string>

#include "registry/cloud/aws_credentials.h"
#include "registry/credentials.h"

namespace corten::registry::cloud {

// For a host of Amazon ECR, a token by way of the credential chain; nothing for every other host. Error as
// require_credentials(): no request is sent without credentials. Not remembered: it costs a request.
std::optional<Credential> cloud_credentials(const std::string& host, const AwsContext& context);

// For Credentials::add_provider(): the same, remembered for eleven of the twelve hours that a token lasts.
// Of Azure's registries
// too, where variables name a service principal or a workload identity. Thread-safe.
Credentials::Provider cloud_provider();

}  // namespace corten::registry::cloud
