// The repositories of the clouds, each against what its registry answers.
#include <gtest/gtest.h>

#include "http/server_test.h"
#include "registry/clean/acr_repository.h"
#include "registry/clean/cleaner.h"
#include "registry/clean/ecr_repository.h"
#include "registry/clean/github_repository.h"

namespace corten::registry::clean {
namespace {

using http::answer;

constexpr int64_t kNow = 1'700'000'000;

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

// Answers by first line of the request, and by what an operation is called.
class Fake {
 public:
  Fake() : server([this](const std::string& request) { return serve(request); }) {}
  Endpoint endpoint() { return Hosts().origin(fmt::format("127.0.0.1:{}", server.port())); }
  std::map<std::string, std::string> answers;
  std::vector<std::string> seen, whole;
  http::Client client{http::quick()};
  Access access{{.http = http::quick(), .credentials = {}, .clock = nullptr}};

 private:
  std::string serve(const std::string& request) {
    std::string line = request.substr(0, request.find(" HTTP"));
    if (size_t at = request.find("X-Amz-Target: "); at != std::string::npos)
      line = request.substr(at + 14, request.find('\r', at) - at - 14);
    seen.push_back(line);
    whole.push_back(request);
    if (auto at = answers.find(line); at != answers.end()) return at->second;
    return answer("404 Not Found", "{}");
  }

 public:
  http::Server server;
};

// --- GitHub ---

class Github : public ::testing::Test {
 protected:
  Github() { fake.answers["GET /users/o/packages/container/team%2Fapp"] = answer("200 OK", "{}"); }
  GithubRepository repository() {
    return {fake.access, fake.endpoint(), "o/team/app", fake.client, {fake.server.url(""), "ghp_SECRET"}};
  }
  void versions(const std::string& json) {
    fake.answers[packages + "/versions?per_page=100&page=1"] = answer("200 OK", json);
  }
  const std::string packages = "GET /users/o/packages/container/team%2Fapp";
  Fake fake;
};

const char* const kTwoVersions =
    R"([{"id":7,"name":"sha256:a","created_at":"2023-01-01T00:00:00Z","updated_at":"2023-02-01T00:00:00Z","metadata":{"container":{"tags":["v1"]}}},)"
    R"({"id":8,"name":"sha256:b","created_at":"2023-01-01T00:00:00Z","metadata":{"container":{"tags":[]}}}])";

TEST_F(Github, ListsVersionsOfAUsersPackage) {
  versions(kTwoVersions);
  GithubRepository r = repository();
  Listing listing = r.list();
  EXPECT_TRUE(listing.is_complete);
  EXPECT_EQ(listing.tags, (std::map<std::string, std::string>{{"v1", "sha256:a"}}));
  ASSERT_EQ(listing.manifests.size(), 2u);
  EXPECT_EQ(listing.manifests[0].pushed_s, parse_rfc3339("2023-02-01T00:00:00Z"));
  EXPECT_TRUE(has(fake.whole[0], "GET /orgs/o/packages/container/team%2Fapp "));
  EXPECT_TRUE(has(fake.whole[0], "X-GitHub-Api-Version: 2022-11-28"));
  EXPECT_TRUE(has(fake.whole[0], "Authorization: Bearer ghp_SECRET"));
  EXPECT_TRUE(has(r.restore_url("sha256:b"), "/versions/8/restore"));
}

TEST_F(Github, ReadsEveryPage) {
  std::string full = "[";
  for (int i = 0; i < 100; i++)
    full += fmt::format(R"({}{{"id":{},"name":"sha256:{}"}})", i ? "," : "", i, i);
  versions(full + "]");
  fake.answers[packages + "/versions?per_page=100&page=2"] =
      answer("200 OK", R"([{"id":200,"name":"sha256:x"}])");
  EXPECT_EQ(repository().list().manifests.size(), 101u);
}

TEST_F(Github, DeletesAVersionUnlessItsTagsChanged) {
  versions(kTwoVersions);
  GithubRepository r = repository();
  r.list();
  fake.answers[packages + "/versions/8"] =
      answer("200 OK", R"({"id":8,"metadata":{"container":{"tags":[]}}})");
  fake.answers["DELETE /users/o/packages/container/team%2Fapp/versions/8"] = answer("204 No Content", "");
  r.remove("sha256:b");
  EXPECT_TRUE(fake.seen.back().starts_with("DELETE "));
  fake.answers[packages + "/versions/7"] =
      answer("200 OK", R"({"id":7,"metadata":{"container":{"tags":["v1","stable"]}}})");
  std::string words;
  EXPECT_EQ(http::code_of([&] { r.remove("sha256:a"); }, &words), ErrorCode::kFailed);
  EXPECT_TRUE(has(words, "its tags changed"));
  EXPECT_EQ(http::code_of([&] { r.untag("v1"); }), ErrorCode::kUnsupported);
}

TEST_F(Github, ErrorsSayWhatToDoAndNotTheToken) {
  fake.answers[packages] = answer("403 Forbidden", R"({"message":"Resource not accessible by integration"})");
  std::string words;
  GithubRepository r = repository();
  EXPECT_EQ(http::code_of([&] { r.list(); }, &words), ErrorCode::kPermission);
  EXPECT_TRUE(has(words, "Resource not accessible by integration"));
  EXPECT_FALSE(has(words, "SECRET"));
  fake.answers.clear();
  EXPECT_EQ(http::code_of([&] { r.list(); }), ErrorCode::kNotFound);
  // Never without encryption to another machine.
  EXPECT_EQ(http::code_of(
                [&] {
                  GithubRepository(fake.access, fake.endpoint(), "o/a", fake.client,
                                   {"http://192.0.2.1", "ghp_SECRET"});
                },
                &words),
            ErrorCode::kPermission);
  EXPECT_EQ(http::code_of([&] {
              GithubRepository(fake.access, fake.endpoint(), "o/a", fake.client, {fake.server.url(""), ""});
            }),
            ErrorCode::kPermission);
}

// --- Amazon ---

const std::string kEcr = "AmazonEC2ContainerRegistry_V20150921.";

struct Amazon : ::testing::Test {
  EcrRepository repository() {
    cloud::AwsContext context{fake.client, clock, [this](const std::string& name) {
                                return name == "AWS_ENDPOINT_URL_ECR" ? fake.server.url("") : std::string();
                              }};
    return {fake.access, fake.endpoint(), "team/app",
            cloud::Ecr(context, {"AKIAIOSFODNN7EXAMPLE", "secret", "", ""}, "eu-west-1", "123456789012")};
  }
  FakeClock clock{kNow * 1'000'000'000};
  Fake fake;
};

TEST_F(Amazon, ListsEverythingWithTheTimeOfItsPush) {
  fake.answers[kEcr + "DescribeImages"] = answer(
      "200 OK",
      R"({"imageDetails":[{"imageDigest":"sha256:a","imageTags":["v1","v2"],"imagePushedAt":1.6e9},{"imageDigest":"sha256:b"},)"
      R"({"imageDigest":"sha256:c","imagePushedAt":1e300},{"imageDigest":"sha256:d","imagePushedAt":-1e300}]})");
  Listing listing = repository().list();
  EXPECT_TRUE(listing.is_complete);
  EXPECT_EQ(listing.tags.at("v2"), "sha256:a");
  EXPECT_EQ(listing.manifests[0].pushed_s, 1'600'000'000);
  // A time that cannot be is none: nothing is old because of it.
  for (size_t i : {1, 2, 3}) EXPECT_FALSE(listing.manifests[i].pushed_s) << i;
  EXPECT_TRUE(
      has(fake.whole.back(), R"("repositoryName":"team/app","maxResults":1000,"registryId":"123456789012")"));
}

TEST_F(Amazon, DeletionsOneByOneWithEcrsOwnReason) {
  fake.answers[kEcr + "BatchDeleteImage"] = answer("200 OK", R"({"imageIds":[],"failures":[]})");
  repository().remove("sha256:a");
  EXPECT_TRUE(has(fake.whole.back(), R"("imageIds":[{"imageDigest":"sha256:a"}])"));
  repository().untag("v1");
  EXPECT_TRUE(has(fake.whole.back(), R"("imageIds":[{"imageTag":"v1"}])"));
  fake.answers[kEcr + "BatchDeleteImage"] = answer(
      "200 OK",
      R"({"failures":[{"failureCode":"ImageReferencedByManifestList","failureReason":"in sha256:c"}]})");
  std::string words;
  EXPECT_EQ(http::code_of([&] { repository().remove("sha256:a"); }, &words), ErrorCode::kFailed);
  EXPECT_TRUE(has(words, "ImageReferencedByManifestList: in sha256:c"));
}

// --- Azure ---

struct Azure : ::testing::Test {
  AcrRepository repository() {
    Endpoint endpoint = fake.endpoint();
    endpoint.scheme = "http";
    return {fake.access, endpoint, "team/app"};
  }
  Fake fake;
};

TEST_F(Azure, ListsPagesTimesAndLocks) {
  fake.answers["GET /acr/v1/team/app/_manifests?n=100"] = answer(
      "200 OK",
      R"({"manifests":[{"digest":"sha256:a","lastUpdateTime":"2023-01-01T00:00:00.123Z","tags":["v1"],"changeableAttributes":{"deleteEnabled":false}}]})");
  fake.answers["GET /acr/v1/team/app/_manifests?n=100&last=sha256%3Aa"] =
      answer("200 OK", R"({"manifests":[{"digest":"sha256:b","createdTime":"2023-01-01T00:00:00Z"}]})");
  fake.answers["GET /acr/v1/team/app/_manifests?n=100&last=sha256%3Ab"] =
      answer("200 OK", R"({"manifests":null})");
  Listing listing = repository().list();
  ASSERT_EQ(listing.manifests.size(), 2u);
  EXPECT_TRUE(listing.is_complete);
  EXPECT_TRUE(listing.manifests[0].is_locked);
  EXPECT_FALSE(listing.manifests[1].is_locked);
  EXPECT_EQ(listing.manifests[0].pushed_s, parse_rfc3339("2023-01-01T00:00:00Z"));
  EXPECT_EQ(listing.tags.at("v1"), "sha256:a");
}

TEST_F(Azure, UntagsByItsOwnApiAndDeletesByTheSpecification) {
  fake.answers["DELETE /acr/v1/team/app/_tags/v1"] = answer("202 Accepted", "");
  fake.answers["DELETE /v2/team/app/manifests/sha256:a"] = answer("202 Accepted", "");
  repository().untag("v1");
  repository().remove("sha256:a");
  EXPECT_EQ(fake.seen.back(), "DELETE /v2/team/app/manifests/sha256:a");
  fake.answers["DELETE /acr/v1/team/app/_tags/v1"] =
      answer("405 Method Not Allowed", R"({"errors":[{"code":"UNSUPPORTED","message":"locked"}]})");
  std::string words;
  EXPECT_EQ(http::code_of([&] { repository().untag("v1"); }, &words), ErrorCode::kUnsupported);
  EXPECT_TRUE(has(words, "locked")) << words;
}

}  // namespace
}  // namespace corten::registry::clean
