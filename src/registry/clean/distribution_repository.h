// A repository by the distribution protocol alone. It has no list of untagged manifests, so what no tag leads
// to is neither seen nor deleted. Mirrors are not asked: what they show is not what would be deleted.
#pragma once
#include <string>

#include "oci/reference.h"
#include "registry/asker.h"
#include "registry/clean/repository.h"
#include "registry/referrers_api.h"

namespace corten::registry::clean {

class DistributionRepository : public Repository {
 public:
  // `access` is borrowed.
  DistributionRepository(Access& access, Endpoint endpoint, std::string repository, RetryRules retry = {});

  std::string name() const override { return endpoint_.registry + "/" + repository_; }
  Listing list() override;
  std::optional<std::string> read_manifest(const std::string& digest) override;
  std::optional<std::string> read_blob(const std::string& digest, size_t max_bytes) override;
  // None where the registry has no such API (the fallback tag is a tag like others). Throws when they cannot
  // be had: "none" would be a lie that deletes.
  std::vector<std::string> referrers(const std::string& digest) override;
  void remove(const std::string& digest) override;
  void untag(const std::string& tag) override;

 protected:
  std::vector<std::string> list_tags();
  Error refused(const std::string& what, http::Response& response, const std::string& actions) const;
  const std::string& repository() const { return repository_; }
  const Endpoint& endpoint() const { return endpoint_; }
  Asker& asker() { return asker_; }
  std::vector<std::string> scopes(const std::string& actions) const;

 private:
  http::Request request(const std::string& method, const std::string& path,
                        const std::string& accept = {}) const;
  std::optional<std::string> read(const std::string& path, const std::string& accept, const std::string& what,
                                  size_t max_bytes);
  bool delete_reference(const std::string& reference);
  std::string digest_of_tag(const std::string& tag);

  Endpoint endpoint_;
  std::string repository_;
  Asker asker_;
  ReferrersApi referrers_api_{asker_};
};

}  // namespace corten::registry::clean
