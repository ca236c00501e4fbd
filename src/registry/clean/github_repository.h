// A repository of GitHub's registry: its distribution API deletes nothing (405), its REST API lists and
// deletes the versions of a package, each a manifest.
//
// Source: GitHub REST API, "Packages", 2022-11-28.
#pragma once
#include <map>
#include <string>

#include "registry/clean/distribution_repository.h"
#include "registry/cloud/answer.h"

namespace corten::registry::clean {

struct GithubApi {
  std::string url = "https://api.github.com";  // $GITHUB_API_URL
  std::string token;                           // read:packages, delete:packages
};

class GithubRepository : public DistributionRepository {
 public:
  // `http` is borrowed. Error(kPermission) when there is no token, or when it would go unencrypted to another
  // machine.
  GithubRepository(Access& access, Endpoint endpoint, std::string repository, http::Client& http,
                   GithubApi api);

  Listing list() override;
  void remove(const std::string& digest) override;
  void untag(const std::string& tag) override;
  // Pages of a hundred, and 5,000 requests an hour: each version is asked for once more by itself.
  int64_t listing_lasts_ms() const override { return 5000; }
  // Where a deleted version is brought back within thirty days: POST.
  std::string restore_url(const std::string& digest) const;

 private:
  struct Version {
    int64_t id = 0;
    std::vector<std::string> tags;
  };
  cloud::Answer ask(const std::string& method, const std::string& url);
  const std::string& package_url();
  Error refused(const std::string& what, const cloud::Answer& answer) const;

  http::Client& http_;
  GithubApi api_;
  std::string package_url_;  // "" until it is known whether an organization or a user owns it
  std::map<std::string, Version> versions_;
};

}  // namespace corten::registry::clean
