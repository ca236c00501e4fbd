// A repository of ECR as it should be: made when it is missing, changed where it differs, left alone where it
// does not; and what its lifecycle policy would expire.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "registry/cloud/ecr.h"

namespace corten::registry::cloud {

// What is not set is not touched, and left to ECR when the repository is made.
struct RepositoryWish {
  std::string name;
  std::optional<bool> scan_on_push;
  std::string encryption, kms_key;  // AES256, KMS, KMS_DSSE; fixed when the repository is made
  std::optional<int> expire_days;
  std::string tag_mutability;  // MUTABLE, IMMUTABLE
};
// Error(kUsage) for a value that ECR does not know.
void check_wish(const RepositoryWish& wish);

struct EnsuredRepository {
  struct Setting {
    std::string name, before, after;  // before "": it was not there
    bool is_changed() const { return before != after; }
  };
  std::string uri;
  bool is_new = false;
  std::vector<Setting> settings;      // those that were wished, and could be had
  std::vector<Setting> unchangeable;  // those that differ and stay
  std::string policy;  // the lifecycle policy as it is, or would be, then; "" when there is none
  bool is_changed() const;
};

// `dry`: nothing is changed, the outcome says what would be.
EnsuredRepository ensure_repository(const Ecr& ecr, const RepositoryWish& wish, bool dry);

// The policy with one rule "any image older than N days" set: an earlier one of this kind gets the new
// number, rules of other kinds stay. Error(kExists) when the place of the last rule is taken by one of
// another kind.
std::string with_expiry(const std::string& policy, int days);

struct ExpiringImage {
  std::string digest;
  std::vector<std::string> tags;
  int64_t pushed_s = 0;
  int64_t rule = 0;  // its priority
};
struct PreviewOptions {
  int max_polls = 60;
  int pause_ms = 2000;
};
// What that policy would expire now. Error(kFailed) when ECR cannot say it in that time.
std::vector<ExpiringImage> preview_expiry(const Ecr& ecr, const std::string& repository,
                                          const std::string& policy, const PreviewOptions& options = {});

}  // namespace corten::registry::cloud
