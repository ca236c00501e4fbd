#include "registry/cloud/cloud_credentials.h"

#include <map>
#include <memory>
#include <mutex>

#include "registry/cloud/acr.h"
#include "registry/cloud/ecr.h"

namespace corten::registry::cloud {

namespace {

constexpr int64_t kAcrLasts_ns = 2LL * 3600 * 1'000'000'000;
constexpr int64_t kLasts_ns = 11LL * 3600 * 1'000'000'000;

struct Remembered {
  struct Entry {
    Credential credential;
    int64_t until_ns = 0;  // monotonic
  };
  std::mutex mutex;
  std::map<std::string, Entry> by_host;
  http::Client http;
  SystemClock clock;
};

// Only when variables say who we are: a registry of Azure may let anybody pull.
std::optional<Credential> acr_credential(Remembered& remembered, const std::string& host) {
  std::lock_guard lock(remembered.mutex);
  Remembered::Entry& entry = remembered.by_host[host];
  if (monotonic_ns() < entry.until_ns) return entry.credential;
  AzureContext context{remembered.http};
  AzureSearch search = search_azure_token(context, azure_manager(context.environment), true);
  if (!search.found) return std::nullopt;
  entry.credential = exchange_acr_token(remembered.http, host, *search.found);
  entry.until_ns = monotonic_ns() + kAcrLasts_ns;
  return entry.credential;
}

}  // namespace

std::optional<Credential> cloud_credentials(const std::string& host, const AwsContext& context) {
  auto ecr = parse_ecr_host(host);
  if (!ecr) return std::nullopt;
  AwsCredentials credentials = require_credentials(context, ecr->region);
  std::string source = "Amazon ECR, by " + credentials.source;
  EcrLogin login = ecr_login(Ecr(context, std::move(credentials), ecr->region, ecr->account));
  return Credential{.user = login.user, .password = login.password, .source = std::move(source)};
}

Credentials::Provider cloud_provider() {
  auto remembered = std::make_shared<Remembered>();
  return [remembered](const std::string& host, const std::string&) -> std::optional<Credential> {
    if (is_acr_host(host)) return acr_credential(*remembered, host);
    if (!parse_ecr_host(host)) return std::nullopt;
    std::lock_guard lock(remembered->mutex);  // one request, however many threads ask
    Remembered::Entry& entry = remembered->by_host[host];
    if (monotonic_ns() >= entry.until_ns) {
      entry.credential = *cloud_credentials(host, {remembered->http, remembered->clock});
      entry.until_ns = monotonic_ns() + kLasts_ns;
    }
    return entry.credential;
  };
}

}  // namespace corten::registry::cloud
