// Azure Container Registry: tokens of the registry for tokens of the directory, and what Azure's resource
// manager does with a registry: import, retention, builds.
//
// Source: Azure/acr docs/AAD-OAuth.md; azure-rest-api-specs containerregistry 2023-01-01-preview,
// 2019-06-01-preview.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "registry/cloud/azure_token.h"
#include "registry/credentials.h"

namespace corten::registry::cloud {

// The user of a refresh token.
inline constexpr const char* kAcrTokenUser = "00000000-0000-0000-0000-000000000000";

// "name" to "name.azurecr.io"; a name with a dot or a port stays.
std::string acr_host(const std::string& registry);
bool is_acr_host(std::string_view host);

// POST https://HOST/oauth2/exchange: an identity (refresh) token of the registry, good for three hours.
Credential exchange_acr_token(http::Client& http, const std::string& host, const AzureToken& token);

// A registry as a resource. Thread-safe.
class AcrResource {
 public:
  struct Place {
    std::string subscription, resource_group;  // "": looked for by name
  };
  // Error(kNotFound) when no subscription that the token sees has a registry of this name.
  AcrResource(const AzureContext& context, AzureToken token, const std::string& registry, const Place& place);

  const std::string& id() const {
    return id_;
  }  // "/subscriptions/S/resourceGroups/G/providers/.../registries/R"
  const std::string& host() const { return host_; }  // its login server

  struct Import {
    std::string source_registry, source_resource;  // a host, or an id of another registry of Azure
    std::string source_image;                      // "library/alpine:3.20", or repository@digest
    std::string user, password;                    // for the source
    std::vector<std::string> tags;                 // targets
    bool force = false;                            // move tags that are there
  };
  // Copies without a byte passing here; returns when it is done.
  void import_image(const Import& import) const;

  // Days until Azure deletes untagged manifests (Docker's media types alone); nothing when it is off.
  std::optional<int> retention_days() const;
  void set_retention(std::optional<int> days) const;

  struct Build {
    std::vector<std::string> names;  // "app:v1"
    std::string dockerfile, target, os = "linux", architecture = "amd64", variant;
    std::vector<std::pair<std::string, std::string>> arguments, secret_arguments;
    bool no_cache = false, push = true;
    int timeout_s = 3600;
  };
  struct Made {
    std::string registry, repository, tag, digest;
  };
  struct BuildResult {
    std::string id, status;  // "Succeeded", "Failed", "Canceled", "Error", "Timeout"
    std::vector<Made> images;
  };
  // Uploads the archive, starts the build, gives the log to `log` as it comes, waits for the end.
  BuildResult build(const Build& build, const http::RequestBody& context_archive,
                    const std::function<void(std::string_view)>& log) const;

 private:
  std::string find_by_name(const std::string& name, const std::string& subscription) const;
  Json call(const std::string& method, const std::string& url, const std::string& what,
            const std::optional<Json>& body = {}) const;
  void wait_for(const std::string& location, const std::string& what) const;
  std::string schedule(const Build& build, const std::string& source) const;
  BuildResult follow(const std::string& run, const std::function<void(std::string_view)>& log) const;

  AzureContext context_;
  AzureToken token_;
  std::string manager_, id_, host_;
};

}  // namespace corten::registry::cloud
