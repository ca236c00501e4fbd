#include "registry/cloud/cloud_credentials.h"

#include <map>
#include <memory>
#include <mutex>

#include "registry/cloud/ecr.h"

namespace corten::registry::cloud {

namespace {

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
