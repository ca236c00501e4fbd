#include "registry/clean/distribution_repository.h"

#include <gtest/gtest.h>

#include "base/digest.h"
#include "http/server_test.h"
#include "registry/clean/cleaner.h"

namespace corten::registry::clean {
namespace {

using http::answer;

// A registry that answers by first line of the request.
class Fake {
 public:
  Fake() : server_([this](const std::string& request) { return serve(request); }) {}
  DistributionRepository repository() {
    return {access_,
            Hosts().origin(fmt::format("127.0.0.1:{}", server_.port())),
            "team/app",
            {.first_pause_ms = 1}};
  }
  std::string put(const std::string& bytes) {
    std::string digest = Digest::of(bytes).to_string();
    answers["GET /v2/team/app/manifests/" + digest] = answer("200 OK", bytes);
    return digest;
  }
  void tag(const std::string& tag, const std::string& digest) {
    answers["HEAD /v2/team/app/manifests/" + tag] =
        answer("200 OK", "", "Docker-Content-Digest: " + digest + "\r\n");
  }
  std::map<std::string, std::string> answers;
  std::map<std::string, int> fails_first;  // so many times
  std::vector<std::string> seen;

 private:
  std::string serve(const std::string& request) {
    std::string line = request.substr(0, request.find(" HTTP"));
    seen.push_back(line);
    if (auto at = fails_first.find(line); at != fails_first.end() && at->second-- > 0)
      return answer("503 Service Unavailable", "");
    if (auto at = answers.find(line); at != answers.end()) return at->second;
    return answer("404 Not Found", R"({"errors":[{"code":"MANIFEST_UNKNOWN"}]})");
  }
  http::Server server_;
  Access access_{{.http = http::quick(), .credentials = {}, .clock = nullptr}};
};

const char* const kImage = R"({"schemaVersion":2,"config":{"digest":"sha256:c","size":1},"layers":[]})";

TEST(DistributionRepository, TagsOfAllPages) {
  Fake fake;
  std::string digest = fake.put(kImage);
  fake.answers["GET /v2/team/app/tags/list?n=1000"] =
      answer("200 OK", R"({"name":"team/app","tags":["a","../evil"]})",
             "Link: </v2/team/app/tags/list?last=a>; rel=\"next\"\r\n");
  fake.answers["GET /v2/team/app/tags/list?last=a"] = answer("200 OK", R"({"tags":["b","gone"]})");
  fake.tag("a", digest), fake.tag("b", digest);
  Listing listing = fake.repository().list();
  EXPECT_EQ(listing.tags, (std::map<std::string, std::string>{{"a", digest}, {"b", digest}}));
  EXPECT_FALSE(listing.is_complete);
  EXPECT_EQ(fake.repository().read_manifest(digest), kImage);
  EXPECT_FALSE(fake.repository().read_manifest("sha256:none"));
}

// HEAD is answered by 405, or without the digest: the bytes tell.
TEST(DistributionRepository, ATagWithoutADigestInItsAnswer) {
  Fake fake;
  fake.answers["GET /v2/team/app/tags/list?n=1000"] = answer("200 OK", R"({"tags":["a"]})");
  fake.answers["HEAD /v2/team/app/manifests/a"] = answer("405 Method Not Allowed", "");
  fake.answers["GET /v2/team/app/manifests/a"] = answer("200 OK", kImage);
  EXPECT_EQ(fake.repository().list().tags["a"], Digest::of(kImage).to_string());
}

const std::string kIndexType = "Content-Type: application/vnd.oci.image.index.v1+json\r\n";

// What GHCR and older registries answer instead of "no such API".
TEST(DistributionRepository, ReferrersWhereThereIsNoSuchApi) {
  for (const char* status :
       {"303 See Other", "401 Unauthorized", "404 Not Found", "429 Too Many Requests", "400 Bad Request"}) {
    Fake fake;
    fake.answers["GET /v2/team/app/referrers/sha256:d"] =
        answer(status, "", "Location: https://192.0.2.1/\r\n");
    EXPECT_TRUE(fake.repository().referrers("sha256:d").empty()) << status;
  }
  Fake fake;
  fake.answers["GET /v2/team/app/referrers/sha256:d"] =
      answer("200 OK", R"({"manifests":[{"digest":"sha256:r"}]})", kIndexType);
  EXPECT_EQ(fake.repository().referrers("sha256:d"), std::vector<std::string>{"sha256:r"});
}

// "Nothing refers to it" would be a lie that deletes.
TEST(DistributionRepository, ReferrersThatCannotBeHadAreAnError) {
  Fake fake;
  fake.answers["GET /v2/team/app/referrers/sha256:d"] = answer("503 Service Unavailable", "");
  EXPECT_THROW(fake.repository().referrers("sha256:d"), Error);
}

// Whatever is on a later page must not be taken for unreferenced.
TEST(DistributionRepository, ReferrersOfAllPages) {
  Fake fake;
  fake.answers["GET /v2/team/app/referrers/sha256:d"] =
      answer("200 OK", R"({"manifests":[{"digest":"sha256:a"}]})",
             kIndexType + "Link: </v2/team/app/referrers/sha256:d?last=a>; rel=\"next\"\r\n");
  fake.answers["GET /v2/team/app/referrers/sha256:d?last=a"] =
      answer("200 OK", R"({"manifests":[{"digest":"sha256:b"}]})");
  fake.fails_first["GET /v2/team/app/referrers/sha256:d?last=a"] = 1;
  EXPECT_EQ(fake.repository().referrers("sha256:d"), (std::vector<std::string>{"sha256:a", "sha256:b"}));
}

// A registry that is busy for a moment ends no cleaning half done.
TEST(DistributionRepository, WhatMayPassIsTriedAgain) {
  Fake fake;
  std::string digest = fake.put(kImage);
  fake.answers["GET /v2/team/app/tags/list?n=1000"] = answer("200 OK", R"({"tags":["a"]})");
  fake.tag("a", digest);
  fake.answers["DELETE /v2/team/app/manifests/" + digest] = answer("202 Accepted", "");
  for (const char* line : {"GET /v2/team/app/tags/list?n=1000", "HEAD /v2/team/app/manifests/a"})
    fake.fails_first[line] = 2;
  fake.fails_first["GET /v2/team/app/manifests/" + digest] = 4;
  fake.fails_first["DELETE /v2/team/app/manifests/" + digest] = 1;
  DistributionRepository repository = fake.repository();
  EXPECT_EQ(repository.list().tags["a"], digest);
  EXPECT_EQ(repository.read_manifest(digest), kImage);
  EXPECT_NO_THROW(repository.remove(digest));
}

TEST(DistributionRepository, DeletionsThatAreRefused) {
  Fake fake;
  fake.answers["DELETE /v2/team/app/manifests/sha256:d"] =
      answer("405 Method Not Allowed", R"({"errors":[{"code":"UNSUPPORTED"}]})");
  fake.answers["DELETE /v2/team/app/manifests/pr-1"] = answer("400 Bad Request", "");
  fake.answers["DELETE /v2/team/app/manifests/sha256:e"] = answer("202 Accepted", "");
  fake.answers["DELETE /v2/team/app/manifests/sha256:f"] =
      answer("403 Forbidden", R"({"errors":[{"code":"DENIED","message":"no"}]})");
  DistributionRepository repository = fake.repository();
  EXPECT_EQ(http::code_of([&] { repository.remove("sha256:d"); }), ErrorCode::kUnsupported);
  EXPECT_EQ(http::code_of([&] { repository.untag("pr-1"); }), ErrorCode::kUnsupported);
  std::string words;
  EXPECT_EQ(http::code_of([&] { repository.remove("sha256:f"); }, &words), ErrorCode::kPermission);
  EXPECT_NE(words.find("DENIED"), std::string::npos);
  EXPECT_NO_THROW(repository.remove("sha256:e"));
  EXPECT_NO_THROW(repository.remove("sha256:gone"));
}

}  // namespace
}  // namespace corten::registry::clean
