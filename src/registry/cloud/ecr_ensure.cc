#include "registry/cloud/ecr_ensure.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/error.h"
#include "base/strings.h"

namespace corten::registry::cloud {

namespace {

constexpr int kMaxPages = 1000;
constexpr size_t kMaxPolicyBytes = 30'720;  // PutLifecyclePolicy

std::string yes_no(bool value) {
  return value ? "on" : "off";
}

Json scanning(bool on_push) {
  return Json::object({{"scanOnPush", on_push}});
}

Json expiry_rule(int64_t priority, int days) {
  return Json::object({{"rulePriority", priority},
                       {"description", fmt::format("Expire images older than {} days", days)},
                       {"selection", Json::object({{"tagStatus", "any"},
                                                   {"countType", "sinceImagePushed"},
                                                   {"countUnit", "days"},
                                                   {"countNumber", days}})},
                       {"action", Json::object({{"type", "expire"}})}});
}

std::string selection_of(const Json& rule, std::string_view key) {
  const Json* selection = rule.find("selection");
  return selection ? selection->get_string(key) : "";
}

// What people are told of a policy: "30 days".
std::string expiry_text(const std::string& policy) {
  if (policy.empty()) return {};
  const Json json = Json::parse(policy, kMaxPolicyBytes);
  if (const Json* rules = json.find("rules"))
    for (const Json& rule : rules->as_array())
      if (selection_of(rule, "tagStatus") == "any" && selection_of(rule, "countType") == "sinceImagePushed")
        return fmt::format("{} {}", rule.find("selection")->get_int("countNumber"),
                           selection_of(rule, "countUnit"));
  return "not set";
}

std::optional<Json> describe(const Ecr& ecr, const std::string& name) {
  auto answer = ecr.call_unless("DescribeRepositories",
                                Json::object({{"repositoryNames", Json(std::vector<std::string>{name})}}),
                                "RepositoryNotFoundException");
  if (!answer) return std::nullopt;
  const Json* repositories = answer->find("repositories");
  if (!repositories || repositories->size() == 0)
    fail(ErrorCode::kFailed, "ECR DescribeRepositories: {} is not in the answer", quote(name));
  return repositories->as_array().front();
}

std::optional<Json> create(const Ecr& ecr, const RepositoryWish& wish) {
  Json input = Json::object({{"repositoryName", wish.name}});
  if (!wish.tag_mutability.empty()) input.set("imageTagMutability", wish.tag_mutability);
  if (wish.scan_on_push) input.set("imageScanningConfiguration", scanning(*wish.scan_on_push));
  if (!wish.encryption.empty()) {
    Json encryption = Json::object({{"encryptionType", wish.encryption}});
    if (!wish.kms_key.empty()) encryption.set("kmsKey", wish.kms_key);
    input.set("encryptionConfiguration", encryption);
  }
  auto answer = ecr.call_unless("CreateRepository", input, "RepositoryAlreadyExistsException");
  if (!answer) return std::nullopt;
  return (*answer)["repository"];
}

// Of a repository that is there: what it has, and where that differs from the wish.
class Comparison {
 public:
  Comparison(const Ecr& ecr, const RepositoryWish& wish, bool dry, EnsuredRepository& outcome)
      : ecr_(ecr), wish_(wish), dry_(dry), outcome_(outcome) {}

  void compare(const Json& repository) {
    compare_scanning(repository);
    compare_mutability(repository);
    compare_encryption(repository);
  }

  void compare_policy(bool may_exist) {
    std::string policy;
    if (may_exist)
      if (auto answer = ecr_.call_unless("GetLifecyclePolicy", Json::object({{"repositoryName", wish_.name}}),
                                         "LifecyclePolicyNotFoundException"))
        policy = answer->get_string("lifecyclePolicyText");
    outcome_.policy = policy;
    if (!wish_.expire_days) return;
    std::string wanted = with_expiry(policy, *wish_.expire_days);
    outcome_.settings.push_back({"expiry", expiry_text(policy), expiry_text(wanted)});
    outcome_.policy = wanted;
    if (!dry_ && outcome_.settings.back().is_changed())
      ecr_.call("PutLifecyclePolicy",
                Json::object({{"repositoryName", wish_.name}, {"lifecyclePolicyText", wanted}}));
  }

 private:
  void compare_scanning(const Json& repository) {
    if (!wish_.scan_on_push) return;
    const Json* scan = repository.find("imageScanningConfiguration");
    bool is_on = scan && scan->get_bool("scanOnPush");
    outcome_.settings.push_back({"scan on push", yes_no(is_on), yes_no(*wish_.scan_on_push)});
    if (!dry_ && outcome_.settings.back().is_changed())
      ecr_.call("PutImageScanningConfiguration",
                Json::object({{"repositoryName", wish_.name},
                              {"imageScanningConfiguration", scanning(*wish_.scan_on_push)}}));
  }
  void compare_mutability(const Json& repository) {
    if (wish_.tag_mutability.empty()) return;
    std::string now = repository.get_string("imageTagMutability", "MUTABLE");
    outcome_.settings.push_back({"tags", now, wish_.tag_mutability});
    if (!dry_ && outcome_.settings.back().is_changed())
      ecr_.call("PutImageTagMutability",
                Json::object({{"repositoryName", wish_.name}, {"imageTagMutability", wish_.tag_mutability}}));
  }
  void compare_encryption(const Json& repository) {
    if (wish_.encryption.empty()) return;
    const Json* encryption = repository.find("encryptionConfiguration");
    EnsuredRepository::Setting setting{
        "encryption", encryption ? encryption->get_string("encryptionType", "AES256") : "AES256",
        wish_.encryption};
    if (!wish_.kms_key.empty()) {
      setting.before += " " + (encryption ? encryption->get_string("kmsKey") : "");
      setting.after += " " + wish_.kms_key;
    }
    (setting.is_changed() ? outcome_.unchangeable : outcome_.settings).push_back(setting);
  }

  const Ecr& ecr_;
  const RepositoryWish& wish_;
  bool dry_;
  EnsuredRepository& outcome_;
};

// Of one that was, or would be, made by this wish.
void add_made(const RepositoryWish& wish, EnsuredRepository& outcome) {
  if (wish.scan_on_push) outcome.settings.push_back({"scan on push", "", yes_no(*wish.scan_on_push)});
  if (!wish.tag_mutability.empty()) outcome.settings.push_back({"tags", "", wish.tag_mutability});
  if (!wish.encryption.empty()) outcome.settings.push_back({"encryption", "", wish.encryption});
}

}  // namespace

bool EnsuredRepository::is_changed() const {
  return is_new ||
         std::any_of(settings.begin(), settings.end(), [](const Setting& s) { return s.is_changed(); });
}

void check_wish(const RepositoryWish& wish) {
  auto check = [](const std::string& value, const char* flag, std::initializer_list<std::string_view> known) {
    if (!value.empty() && std::find(known.begin(), known.end(), value) == known.end())
      throw Error(ErrorCode::kUsage, fmt::format("{} {}: no such value", flag, quote(value)))
          .with_hint(fmt::format("it is one of {}",
                                 join(std::vector<std::string>(known.begin(), known.end()), ", ")));
  };
  check(wish.encryption, "--encryption", {"AES256", "KMS", "KMS_DSSE"});
  check(wish.tag_mutability, "--tag-mutability", {"MUTABLE", "IMMUTABLE"});
  if (!wish.kms_key.empty() && !wish.encryption.starts_with("KMS"))
    fail(ErrorCode::kUsage, "--kms-key needs --encryption KMS");
  if (wish.expire_days && (*wish.expire_days < 1 || *wish.expire_days > 36'500))
    fail(ErrorCode::kUsage, "--expire-days {}: a number of days from 1 on", *wish.expire_days);
}

std::string with_expiry(const std::string& policy, int days) {
  if (policy.empty()) return Json::object({{"rules", Json(Json::Array{expiry_rule(1, days)})}}).dump();
  Json json = Json::parse(policy, kMaxPolicyBytes);
  if (!json.find("rules")) json.set("rules", Json::array());
  int64_t last = 0;
  for (Json& rule : json["rules"].as_array()) {
    last = std::max(last, rule.get_int("rulePriority"));
    if (selection_of(rule, "tagStatus") != "any") continue;
    if (selection_of(rule, "countType") != "sinceImagePushed" || selection_of(rule, "countUnit") != "days")
      throw Error(ErrorCode::kExists,
                  fmt::format("the lifecycle policy has a rule for all images already, of another kind: {}",
                              quote(rule.get_string("description", "(no description)"))))
          .with_hint(
              "ECR allows one such rule, the last; change it, or remove it: aws ecr delete-lifecycle-policy");
    if (rule["selection"].get_int("countNumber") != days)
      rule = expiry_rule(rule.get_int("rulePriority"), days);
    return json.dump();
  }
  json["rules"].push_back(expiry_rule(last + 1, days));
  return json.dump();
}

EnsuredRepository ensure_repository(const Ecr& ecr, const RepositoryWish& wish, bool dry) {
  check_wish(wish);
  EnsuredRepository outcome;
  Comparison comparison(ecr, wish, dry, outcome);
  auto found = describe(ecr, wish.name);
  if (!found && !dry) {
    auto made = create(ecr, wish);
    outcome.is_new = made.has_value();
    // Somebody else was faster: then it is compared like any other.
    found = made ? made : describe(ecr, wish.name);
    if (!found) fail(ErrorCode::kFailed, "ECR: {} is there, and is not", quote(wish.name));
  }
  outcome.is_new = outcome.is_new || !found;
  if (found) outcome.uri = found->get_string("repositoryUri");
  if (outcome.is_new)
    add_made(wish, outcome);
  else
    comparison.compare(*found);
  comparison.compare_policy(!outcome.is_new);
  return outcome;
}

std::vector<ExpiringImage> preview_expiry(const Ecr& ecr, const std::string& repository,
                                          const std::string& policy, const PreviewOptions& options) {
  Json input = Json::object({{"repositoryName", repository}});
  Json start = input;
  start.set("lifecyclePolicyText", policy);
  int poll = 0;
  auto wait = [&] {
    if (++poll >= options.max_polls)
      fail(ErrorCode::kFailed, "ECR's preview of the lifecycle policy is not ready after {} questions",
           options.max_polls);
    std::this_thread::sleep_for(std::chrono::milliseconds(options.pause_ms));
  };
  // Somebody's earlier preview, of another policy perhaps, has to end first.
  while (!ecr.call_unless("StartLifecyclePolicyPreview", start, "LifecyclePolicyPreviewInProgressException"))
    wait();
  Json answer;
  for (;; wait()) {
    answer = ecr.call("GetLifecyclePolicyPreview", input);
    std::string status = answer.get_string("status");
    if (status == "COMPLETE") break;
    if (status != "IN_PROGRESS")
      fail(ErrorCode::kFailed, "ECR's preview of the lifecycle policy ended as {}", printable(status));
  }
  std::vector<ExpiringImage> images;
  for (int page = 0; page < kMaxPages; page++) {
    if (const Json* results = answer.find("previewResults"))
      for (const Json& json : results->as_array()) {
        ExpiringImage image{.digest = json.get_string("imageDigest"), .tags = json.get_strings("imageTags")};
        image.pushed_s = epoch_seconds(json.find("imagePushedAt")).value_or(0);
        image.rule = json.get_int("appliedRulePriority");
        images.push_back(std::move(image));
      }
    std::string token = answer.get_string("nextToken");
    if (token.empty()) return images;
    input.set("nextToken", token);
    answer = ecr.call("GetLifecyclePolicyPreview", input);
  }
  fail(ErrorCode::kFailed, "ECR GetLifecyclePolicyPreview: more than {} pages", kMaxPages);
}

}  // namespace corten::registry::cloud
