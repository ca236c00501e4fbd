// Amazon ECR's own operations: JSON 1.1 over POST, signed (botocore data/ecr/2015-09-21).
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "registry/cloud/aws_credentials.h"

namespace corten::registry::cloud {

// One account's registry in one region, asked with credentials that are looked for anew when they expire.
// Thread-safe.
class Ecr {
 public:
  // `account` "": the caller's own.
  Ecr(AwsContext context, AwsCredentials credentials, std::string region, std::string account = {});

  // Error with the service's own type and words; kPermission for keys that are not good and for what a
  // policy forbids, kNotFound for what is not there. Throttling and states that pass are tried again.
  Json call(const std::string& operation, const Json& input) const;
  // Nothing when the service answers with this error.
  std::optional<Json> call_unless(const std::string& operation, const Json& input,
                                  std::string_view error_type) const;

  const std::string& region() const { return region_; }
  const std::string& account() const { return account_; }
  const AwsContext& context() const { return context_; }

 private:
  struct Held {
    std::mutex mutex;
    AwsCredentials credentials;
  };
  AwsCredentials credentials() const;

  AwsContext context_;
  std::unique_ptr<Held> held_;
  std::string region_, account_;
};

// Seconds since 1970 as ECR writes a time, a number with a fraction; nothing for what is none, or lies
// farther off than a date can be written.
std::optional<int64_t> epoch_seconds(const Json* time);

// What a registry takes as Basic authentication for twelve hours.
struct EcrLogin {
  std::string host;  // "ACCOUNT.dkr.ecr.REGION.amazonaws.com"
  std::string user, password;
  int64_t expires_s = 0;  // since 1970
};
EcrLogin ecr_login(const Ecr& ecr);

// Where an image of ECR lies: "ACCOUNT.dkr.ecr.REGION.amazonaws.com/app:1", or "app:1" in the caller's own.
struct EcrImage {
  std::string account, region;  // "" when the name does not say
  std::string repository;
  std::string tag, digest;  // one of them
  Json id() const;          // imageId
};
// Error(kInvalid) for what is neither.
EcrImage parse_ecr_image(const std::string& text);

// The region of that registry, else the configured one; Error(kInvalid) with what to set when there is none.
std::string required_region(const Environment& environment, const std::string& from_host);

struct ScanFinding {
  std::string id, severity, package, version, fixed_in, title, uri;
};
struct ScanReport {
  std::string status, description;  // "COMPLETE", "ACTIVE" (continuous)
  std::vector<ScanFinding> findings;
  bool is_complete() const { return status == "COMPLETE" || status == "ACTIVE"; }
  bool is_pending() const { return status == "IN_PROGRESS" || status == "PENDING"; }
};
// Severities from the worst: CRITICAL HIGH MEDIUM LOW INFORMATIONAL UNDEFINED; 0 is the worst.
int severity_rank(std::string_view severity);

struct ScanWish {
  EcrImage image;
  bool starts = false;  // asks for a scan when there was none
  int wait_s = 0;       // for one that runs
};
// All pages, basic and enhanced findings, the worst first. Error(kNotFound) when there was no scan.
ScanReport scan_findings(const Ecr& ecr, const ScanWish& wish);

}  // namespace corten::registry::cloud
