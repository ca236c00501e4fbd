#include "registry/cloud/cloud_credentials.h"

#include "registry/cloud/ecr.h"

namespace corten::registry::cloud {

std::optional<CloudCredential> cloud_credentials(const std::string& host, const AwsContext& context) {
  auto ecr = parse_ecr_host(host);
  if (!ecr) return std::nullopt;
  AwsCredentials credentials = require_credentials(context, ecr->region);
  EcrLogin login = ecr_login(Ecr(context, std::move(credentials), ecr->region, ecr->account));
  return CloudCredential{login.user, login.password, "Amazon ECR, by " + ecr->account};
}

}  // namespace corten::registry::cloud
