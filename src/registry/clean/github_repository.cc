#include "registry/clean/github_repository.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"

namespace corten::registry::clean {

namespace {

constexpr int kMaxPages = 2000, kPageSize = 100;

std::vector<std::string> tags_of(const Json& version) {
  const Json* metadata = version.find("metadata");
  const Json* container = metadata ? metadata->find("container") : nullptr;
  return container ? container->get_strings("tags") : std::vector<std::string>();
}

}  // namespace

GithubRepository::GithubRepository(Access& access, Endpoint endpoint, std::string repository,
                                   http::Client& http, GithubApi api)
    : DistributionRepository(access, std::move(endpoint), std::move(repository)),
      http_(http),
      api_(std::move(api)) {
  http::Url url = http::parse_url(api_.url);
  while (api_.url.ends_with('/')) api_.url.pop_back();
  if (url.scheme != "https" && !is_loopback(url.authority()))
    fail(ErrorCode::kPermission, "{}: a token is sent over https alone", url.shown());
  if (api_.token.empty())
    throw Error(ErrorCode::kPermission, "no token for GitHub's API")
        .with_hint("log in to ghcr.io, or set GITHUB_TOKEN: it needs read:packages and delete:packages");
  if (api_.token.find_first_of("\r\n") != std::string::npos)
    fail(ErrorCode::kInvalid, "the token for GitHub's API holds a line end");
}

cloud::Answer GithubRepository::ask(const std::string& method, const std::string& url) {
  http::Request request{.url = url,
                        .fields = {{"Accept", "application/vnd.github+json"},
                                   {"X-GitHub-Api-Version", "2022-11-28"},
                                   {"User-Agent", "corten"},
                                   {"Authorization", "Bearer " + api_.token}},
                        .method = method};
  return method == "GET" ? cloud::ask_again(http_, request) : cloud::ask(http_, request);
}

Error GithubRepository::refused(const std::string& what, const cloud::Answer& answer) const {
  std::string text = fmt::format("GitHub: {}: {}", what, cloud::refusal(answer));
  if (answer.status == 429 || answer.field("x-ratelimit-remaining") == "0")
    return Error(ErrorCode::kIo, text).with_hint("its limit of requests is used up; run again in an hour");
  if (answer.status == 401 || answer.status == 403)
    return Error(ErrorCode::kPermission, text)
        .with_hint(
            "the token needs read:packages and delete:packages, and the package must let it (its settings, "
            "'Manage Actions "
            "access', role Admin)");
  return Error(answer.status == 404 ? ErrorCode::kNotFound : ErrorCode::kFailed, text);
}

const std::string& GithubRepository::package_url() {
  if (!package_url_.empty()) return package_url_;
  size_t slash = repository().find('/');
  if (slash == std::string::npos) fail(ErrorCode::kInvalid, "{}: no OWNER/PACKAGE", name());
  std::string owner = http::percent_encode(repository().substr(0, slash));
  std::string package = http::percent_encode(repository().substr(slash + 1));
  for (const char* kind : {"orgs", "users"}) {
    std::string url = fmt::format("{}/{}/{}/packages/container/{}", api_.url, kind, owner, package);
    cloud::Answer answer = ask("GET", url);
    if (answer.status == 200) return package_url_ = url;
    if (answer.status != 404) throw refused("package " + repository(), answer);
  }
  throw Error(ErrorCode::kNotFound, fmt::format("GitHub knows no package {}", quote(repository())))
      .with_hint("or the token may not see it: read:packages");
}

Listing GithubRepository::list() {
  Listing listing{.is_complete = true};
  std::map<std::string, Version> versions;
  for (int page = 1;; page++) {
    if (page > kMaxPages) fail(ErrorCode::kFailed, "GitHub: more than {} pages of versions", kMaxPages);
    cloud::Answer answer =
        ask("GET", fmt::format("{}/versions?per_page={}&page={}", package_url(), kPageSize, page));
    if (answer.status != 200) throw refused("versions of " + repository(), answer);
    Json json = Json::parse(answer.body, cloud::kMaxAnswerBytes);
    for (const Json& version : json.as_array()) {
      Listed listed{.digest = version.get_string("name")};
      for (const char* member : {"created_at", "updated_at"})
        if (auto time = parse_rfc3339(version.get_string(member)))
          listed.pushed_s = std::max(listed.pushed_s.value_or(0), *time);
      Version known{version.get_int("id"), tags_of(version)};
      for (const std::string& tag : known.tags) listing.tags[tag] = listed.digest;
      versions[listed.digest] = std::move(known);
      listing.manifests.push_back(std::move(listed));
    }
    if (json.size() < kPageSize) break;
  }
  versions_ = std::move(versions);
  return listing;
}

void GithubRepository::remove(const std::string& digest) {
  auto at = versions_.find(digest);
  if (at == versions_.end()) return;
  std::string url = fmt::format("{}/versions/{}", package_url(), at->second.id);
  cloud::Answer now = ask("GET", url);
  if (now.status == 404) return;
  if (now.status != 200) throw refused("version " + digest, now);
  std::vector<std::string> tags = tags_of(Json::parse(now.body, cloud::kMaxAnswerBytes)),
                           before = at->second.tags;
  std::sort(tags.begin(), tags.end());
  std::sort(before.begin(), before.end());
  if (tags != before) fail(ErrorCode::kFailed, "{}: its tags changed a moment ago; it is kept", digest);
  cloud::Answer answer = ask("DELETE", url);
  if (answer.status != 204 && answer.status != 404) throw refused("deletion of " + digest, answer);
}

void GithubRepository::untag(const std::string& tag) {
  fail(ErrorCode::kUnsupported, "tag {}: GitHub cannot remove a tag alone; it stays with its manifest", tag);
}

std::string GithubRepository::restore_url(const std::string& digest) const {
  auto at = versions_.find(digest);
  return at == versions_.end() ? "" : fmt::format("{}/versions/{}/restore", package_url_, at->second.id);
}

}  // namespace corten::registry::clean
