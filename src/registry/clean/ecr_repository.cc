#include "registry/clean/ecr_repository.h"

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"

namespace corten::registry::clean {

namespace {

constexpr int kMaxPages = 1000;

}  // namespace

EcrRepository::EcrRepository(Access& access, Endpoint endpoint, std::string repository, cloud::Ecr ecr)
    : DistributionRepository(access, std::move(endpoint), std::move(repository)), ecr_(std::move(ecr)) {}

Listing EcrRepository::list() {
  Listing listing{.is_complete = true};
  Json input = Json::object({{"repositoryName", repository()}, {"maxResults", 1000}});
  for (int page = 0; page < kMaxPages; page++) {
    Json answer = ecr_.call("DescribeImages", input);
    if (const Json* details = answer.find("imageDetails"))
      for (const Json& json : details->as_array()) {
        Listed listed{.digest = json.get_string("imageDigest")};
        listed.pushed_s = cloud::epoch_seconds(json.find("imagePushedAt"));
        for (const std::string& tag : json.get_strings("imageTags")) listing.tags[tag] = listed.digest;
        listing.manifests.push_back(std::move(listed));
      }
    std::string token = answer.get_string("nextToken");
    if (token.empty()) return listing;
    input.set("nextToken", token);
  }
  fail(ErrorCode::kFailed, "ECR DescribeImages: more than {} pages", kMaxPages);
}

void EcrRepository::remove_image(const Json& id, const std::string& shown) {
  Json answer =
      ecr_.call("BatchDeleteImage",
                Json::object({{"repositoryName", repository()}, {"imageIds", Json(Json::Array{id})}}));
  const Json* failures = answer.find("failures");
  if (!failures || failures->size() == 0) return;
  const Json& failure = failures->as_array().front();
  std::string code = failure.get_string("failureCode");
  if (code == "ImageNotFound") return;
  fail(ErrorCode::kFailed, "ECR keeps {}: {}: {}", shown, printable(code),
       printable(failure.get_string("failureReason")));
}

void EcrRepository::remove(const std::string& digest) {
  remove_image(Json::object({{"imageDigest", digest}}), digest);
}

void EcrRepository::untag(const std::string& tag) {
  remove_image(Json::object({{"imageTag", tag}}), "tag " + tag);
}

}  // namespace corten::registry::clean
