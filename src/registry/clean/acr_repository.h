// A repository of Azure's registry: its own list names untagged manifests, times and locks.
//
// Source: Azure/acr-cli, acr/client.go; reference behaviour: `acr purge` (cmd/acr/purge.go).
#pragma once
#include "registry/clean/distribution_repository.h"

namespace corten::registry::clean {

class AcrRepository : public DistributionRepository {
 public:
  using DistributionRepository::DistributionRepository;
  Listing list() override;
  void untag(const std::string& tag) override;

 private:
  http::Response send_own(const std::string& method, const std::string& path, const std::string& actions);
};

}  // namespace corten::registry::clean
