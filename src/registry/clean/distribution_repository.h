// A repository by the distribution protocol alone. It has no list of untagged manifests, so what no tag leads
// to is neither seen nor deleted.
#pragma once
#include <string>

#include "oci/reference.h"
#include "registry/access.h"
#include "registry/clean/repository.h"

namespace corten::registry::clean {

class DistributionRepository : public Repository {
 public:
  // `access` is borrowed.
  DistributionRepository(Access& access, Endpoint endpoint, std::string repository);

  std::string name() const override { return endpoint_.registry + "/" + repository_; }
  Listing list() override;
  std::optional<std::string> read_manifest(const std::string& digest) override;
  std::optional<std::string> read_blob(const std::string& digest, size_t max_bytes) override;
  // None where the registry has no such API: 404, 400, and what GHCR answers instead of them (303, 401, 429).
  // The fallback tag is a tag like others.
  std::vector<std::string> referrers(const std::string& digest) override;
  void remove(const std::string& digest) override;
  void untag(const std::string& tag) override;

 protected:
  std::vector<std::string> list_tags();
  Error refused(const std::string& what, http::Response& response, const std::string& scope) const;
  const std::string& repository() const { return repository_; }
  const Endpoint& endpoint() const { return endpoint_; }
  Access& access() { return access_; }

 private:
  http::Response send(const std::string& method, const std::string& path, const std::string& actions,
                      const std::string& accept = {});
  bool delete_reference(const std::string& reference);
  std::string digest_of_tag(const std::string& tag);

  Access& access_;
  Endpoint endpoint_;
  std::string repository_;
};

}  // namespace corten::registry::clean
