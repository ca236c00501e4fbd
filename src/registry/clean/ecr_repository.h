// A repository of Amazon ECR: everything in it is listed, with the time of its push.
#pragma once
#include "registry/clean/distribution_repository.h"
#include "registry/cloud/ecr.h"

namespace corten::registry::clean {

class EcrRepository : public DistributionRepository {
 public:
  EcrRepository(Access& access, Endpoint endpoint, std::string repository, cloud::Ecr ecr);
  Listing list() override;
  void remove(const std::string& digest) override;
  void untag(const std::string& tag) override;

 private:
  void remove_image(const Json& id, const std::string& shown);
  cloud::Ecr ecr_;
};

}  // namespace corten::registry::clean
