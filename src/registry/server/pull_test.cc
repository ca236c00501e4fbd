// distribution-spec, "Pull", "Content Discovery", "Content Management", sentence by sentence.
#include "base/json.h"
#include "registry/server/raw_client_test.h"

namespace corten::registry::serving {
namespace {

std::vector<std::string> strings(const RawAnswer& answer, std::string_view member) {
  return Json::parse(answer.body).get_strings(member);
}

TEST_F(ServerTest, Ping) {
  EXPECT_EQ(ask("GET", "/v2/").status, 200u);
  EXPECT_EQ(ask("GET", "/v2").status, 200u);
  EXPECT_EQ(ask("GET", "/").status, 404u);
  EXPECT_EQ(ask("DELETE", "/v2/").status, 405u);
  EXPECT_NE(ask("DELETE", "/v2/a/tags/list").field("Allow"), "");
}

TEST_F(ServerTest, WhatIsNotThere) {
  EXPECT_EQ(ask("GET", "/v2/nobody/manifests/latest").status, 404u);
  push_image("a", "v1");
  const std::string digest = sha256_text("nothing");
  for (const char* path : {"manifests/v2", "manifests/", "tags/other", "blobs/", "nothing/else"})
    EXPECT_EQ(ask("GET", fmt::format("/v2/a/{}", path)).status / 100, 4u) << path;
  for (const std::string& path :
       std::vector<std::string>{"manifests/" + digest, "blobs/" + digest, "manifests/v2"})
    for (const char* method : {"GET", "HEAD", "DELETE"}) {
      const RawAnswer answer = ask(method, "/v2/a/" + path);
      EXPECT_EQ(answer.status, 404u) << method << path;
      if (std::string_view(method) != "HEAD") {
        EXPECT_NE(answer.body.find("UNKNOWN"), std::string::npos) << answer.body;
      }
    }
  EXPECT_EQ(ask("GET", "/v2/a/manifests/sha256:nonsense").status, 400u);
  EXPECT_EQ(ask("GET", "/v2/a/blobs/sha256:nonsense").status, 400u);
}

// A link that somebody put below the root leads nowhere.
TEST_F(ServerTest, NamesStayInTheRoot) {
  push_image("a", "v1");
  ASSERT_EQ(symlink("/etc", (root() + "/repositories/etc").c_str()), 0);
  ASSERT_EQ(symlink("/etc/passwd", (root() + "/repositories/a/_tags/passwd").c_str()), 0);
  EXPECT_EQ(ask("GET", "/v2/etc/manifests/v1").status, 404u);
  EXPECT_EQ(ask("GET", "/v2/a/manifests/passwd").status, 404u);
  for (const char* path : {"/v2/a/manifests/../../../../format", "/v2/a%2F..%2F..%2Fb/manifests/v1",
                           "/v2/../v2/a/manifests/v1", "/v2/a/blobs/%00", "/v2/a/manifests/v1%0a"})
    EXPECT_EQ(ask("GET", path).status / 100, 4u) << path;
}

TEST_F(ServerTest, Head) {
  const std::string manifest = push_image("a", "v1"), digest = sha256_text(manifest);
  for (const std::string& path :
       std::vector<std::string>{"manifests/v1", "manifests/" + digest, "blobs/" + sha256_text("layer")}) {
    const RawAnswer head = ask("HEAD", "/v2/a/" + path), get = ask("GET", "/v2/a/" + path);
    EXPECT_EQ(head.status, 200u);
    EXPECT_EQ(head.field("Content-Length"), std::to_string(get.body.size()));
    EXPECT_EQ(head.field("Docker-Content-Digest"), sha256_text(get.body));
    EXPECT_EQ(head.field("Content-Type"), get.field("Content-Type"));
  }
  // The connection goes on after it.
  RawClient client = this->client();
  EXPECT_EQ(client.ask("HEAD", "/v2/a/manifests/v1").status, 200u);
  EXPECT_EQ(client.ask("GET", "/v2/a/manifests/v1").body, manifest);
}

TEST_F(ServerTest, Ranges) {
  std::string bytes;
  for (int i = 0; i < 200'000; i++) bytes += static_cast<char>(i % 251);
  const std::string path = "/v2/a/blobs/" + push_blob("a", bytes);
  const auto part = [&](const std::string& range) { return ask("GET", path, {}, {{"Range", range}}); };
  RawAnswer answer = part("bytes=500-1499");
  EXPECT_EQ(answer.status, 206u);
  EXPECT_EQ(answer.field("Content-Range"), "bytes 500-1499/200000");
  EXPECT_TRUE(answer.body == bytes.substr(500, 1000));
  EXPECT_TRUE(part("bytes=199990-").body == bytes.substr(199'990));
  EXPECT_TRUE(part("bytes=-10").body == bytes.substr(199'990));
  EXPECT_EQ(part("bytes=-999999").field("Content-Range"), "bytes 0-199999/200000");
  EXPECT_EQ(part("bytes=199999-900000").body.size(), 1u);
  for (const char* range : {"bytes=200000-", "bytes=300000-300001", "bytes=5-4", "bytes=-0"}) {
    answer = part(range);
    EXPECT_EQ(answer.status, 416u) << range;
    EXPECT_EQ(answer.field("Content-Range"), "bytes */200000");
  }
  for (const char* range : {"bytes=0-1,5-6", "lines=1-2", "bytes=x-y", "bytes="})
    EXPECT_EQ(part(range).status, 200u) << range;
  const std::string tag = ask("HEAD", path).field("ETag");
  EXPECT_EQ(ask("GET", path, {}, {{"Range", "bytes=0-0"}, {"If-Range", tag}}).status, 206u);
  EXPECT_EQ(ask("GET", path, {}, {{"Range", "bytes=0-0"}, {"If-Range", "\"other\""}}).status, 200u);
  EXPECT_EQ(ask("GET", path, {}, {{"If-None-Match", tag}}).status, 304u);
}

TEST_F(ServerTest, Tags) {
  EXPECT_EQ(ask("GET", "/v2/a/tags/list").status, 404u);
  const std::string manifest = push_image("a", "b");
  for (const char* tag : {"c", "A", "a", "10", "9"}) put_manifest("a", tag, manifest);
  using Strings = std::vector<std::string>;
  RawAnswer answer = ask("GET", "/v2/a/tags/list");
  EXPECT_EQ(Json::parse(answer.body).get_string("name"), "a");
  EXPECT_EQ(strings(answer, "tags"), (Strings{"10", "9", "A", "a", "b", "c"}));
  EXPECT_EQ(answer.field("Link"), "");

  answer = ask("GET", "/v2/a/tags/list?n=4");
  EXPECT_EQ(strings(answer, "tags"), (Strings{"10", "9", "A", "a"}));
  EXPECT_EQ(answer.field("Link"), "</v2/a/tags/list?n=4&last=a>; rel=\"next\"");
  answer = ask("GET", "/v2/a/tags/list?n=4&last=a");
  EXPECT_EQ(strings(answer, "tags"), (Strings{"b", "c"}));
  EXPECT_EQ(answer.field("Link"), "");
  EXPECT_EQ(strings(ask("GET", "/v2/a/tags/list?last=B"), "tags"), (Strings{"a", "b", "c"}))
      << "last need not be";
  EXPECT_EQ(strings(ask("GET", "/v2/a/tags/list?n=6"), "tags").size(), 6u);
  EXPECT_EQ(ask("GET", "/v2/a/tags/list?n=6").field("Link"), "");

  answer = ask("GET", "/v2/a/tags/list?n=0");
  EXPECT_EQ(answer.status, 200u);
  EXPECT_EQ(Json::parse(answer.body).find("tags")->as_array().size(), 0u);
  EXPECT_EQ(answer.field("Link"), "");
  EXPECT_EQ(ask("GET", "/v2/a/tags/list?n=-1").status, 400u);
  EXPECT_EQ(ask("GET", "/v2/a/tags/list?n=many").status, 400u);
  // A repository whose tags have all gone has an empty list.
  EXPECT_EQ(ask("DELETE", "/v2/a/manifests/" + sha256_text(manifest)).status, 202u);
  EXPECT_EQ(ask("GET", "/v2/a/tags/list").body, R"({"name":"a","tags":[]})");
}

TEST_F(ServerTest, Repositories) {
  for (const char* name : {"b/c", "a", "b", "tags/list/blobs/manifests"}) push_image(name, "v1");
  EXPECT_EQ(strings(ask("GET", "/v2/_catalog"), "repositories"),
            (std::vector<std::string>{"a", "b", "b/c", "tags/list/blobs/manifests"}));
  EXPECT_EQ(ask("GET", "/v2/tags/list/blobs/manifests/manifests/v1").status, 200u);
  EXPECT_EQ(ask("GET", "/v2/_catalog?n=1").field("Link"), "</v2/_catalog?n=1&last=a>; rel=\"next\"");
}

// An artifact about `subject`; gives its manifest.
std::string about(const std::string& subject, std::string_view type, std::string_view note) {
  return manifest_text(
      "{}", "layer",
      fmt::format(R"(,"artifactType":"{}","annotations":{{"note":"{}"}},"subject":{{"mediaType":)"
                  R"("{}","digest":"{}","size":3}})",
                  type, note, kManifestType, subject));
}

TEST_F(ServerTest, Referrers) {
  const std::string subject = sha256_text(push_image("a", "v1"));
  const std::string path = "/v2/a/referrers/" + subject;
  RawAnswer answer = ask("GET", path);
  EXPECT_EQ(answer.status, 200u);
  EXPECT_EQ(answer.field("Content-Type"), "application/vnd.oci.image.index.v1+json");
  EXPECT_EQ(Json::parse(answer.body).find("manifests")->as_array().size(), 0u);
  EXPECT_EQ(ask("GET", "/v2/nobody/referrers/" + subject).status, 200u) << "never 404";
  EXPECT_EQ(ask("GET", "/v2/a/referrers/sha256:short").status, 400u);

  const std::string sbom = about(subject, "application/spdx+json", "one");
  const std::string other = about(subject, "application/other", "two");
  // Neither its own type nor annotations: the config's type stands for it.
  const std::string plain = manifest_text(
      "{}", "layer",
      fmt::format(R"(,"subject":{{"mediaType":"{}","digest":"{}","size":3}})", kManifestType, subject));
  const std::string index = fmt::format(
      R"({{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"subject":)"
      R"({{"mediaType":"{}","digest":"{}","size":3}}}})",
      kManifestType, subject);
  for (const std::string& manifest : {sbom, other, plain})
    EXPECT_EQ(put_manifest("a", sha256_text(manifest), manifest).status, 201u);
  EXPECT_EQ(put_manifest("a", sha256_text(index), index, "application/vnd.oci.image.index.v1+json").status,
            201u);

  const Json all = Json::parse(ask("GET", path).body);
  EXPECT_EQ(all.get_int("schemaVersion"), 2);
  ASSERT_EQ(all.find("manifests")->size(), 4u);
  for (const Json& entry : all.find("manifests")->as_array()) {
    if (entry.get_string("digest") == sha256_text(sbom)) {
      EXPECT_EQ(entry.get_string("artifactType"), "application/spdx+json");
      EXPECT_EQ(entry.find("annotations")->get_string("note"), "one");
      EXPECT_EQ(entry.get_int("size"), static_cast<int64_t>(sbom.size()));
    } else if (entry.get_string("digest") == sha256_text(plain)) {
      EXPECT_EQ(entry.get_string("artifactType"), kConfigType);
    } else if (entry.get_string("digest") == sha256_text(index)) {
      EXPECT_EQ(entry.find("artifactType"), nullptr);
    }
  }

  answer = ask("GET", path + "?artifactType=application/spdx%2Bjson");
  EXPECT_EQ(answer.field("OCI-Filters-Applied"), "artifactType");
  ASSERT_EQ(Json::parse(answer.body).find("manifests")->size(), 1u);
  EXPECT_EQ(
      Json::parse(ask("GET", path + "?artifactType=application/spdx+json").body).find("manifests")->size(),
      1u);
  EXPECT_EQ(ask("GET", path).field("OCI-Filters-Applied"), "");

  // Page by page: each once.
  std::set<std::string> seen;
  std::string next = path + "?n=1";
  for (int pages = 0; !next.empty() && pages < 10; pages++) {
    answer = ask("GET", next);
    const Json listing = Json::parse(answer.body);
    for (const Json& entry : listing.find("manifests")->as_array())
      EXPECT_TRUE(seen.insert(entry.get_string("digest")).second);
    const std::string link = answer.field("Link");
    next = link.empty() ? "" : link.substr(1, link.find('>') - 1);
  }
  EXPECT_EQ(seen.size(), 4u);

  EXPECT_EQ(ask("DELETE", "/v2/a/manifests/" + sha256_text(sbom)).status, 202u);
  EXPECT_EQ(Json::parse(ask("GET", path).body).find("manifests")->size(), 3u);
}

// What does not fit into one answer comes in several.
TEST_F(ServerTest, ManyReferrers) {
  const std::string subject = sha256_text(push_image("a", "v1"));
  for (int i = 0; i < 4; i++) {
    const std::string manifest =
        about(subject, "application/big", std::string(900'000, static_cast<char>('a' + i)));
    ASSERT_EQ(put_manifest("a", sha256_text(manifest), manifest).status, 201u);
  }
  const RawAnswer first = ask("GET", "/v2/a/referrers/" + subject + "?artifactType=application/big");
  EXPECT_EQ(Json::parse(first.body).find("manifests")->size(), 2u);
  const std::string link = first.field("Link");
  ASSERT_NE(link.find("artifactType=application%2Fbig"), std::string::npos) << link;
  const RawAnswer second = ask("GET", link.substr(1, link.find('>') - 1));
  EXPECT_EQ(Json::parse(second.body).find("manifests")->size(), 2u);
  EXPECT_EQ(second.field("Link"), "");
}

TEST_F(ServerTest, Deleting) {
  const std::string manifest = push_image("a", "v1"), digest = sha256_text(manifest);
  put_manifest("a", "v2", manifest);
  const std::string other = push_image("a", "other", "other layer");
  EXPECT_EQ(ask("DELETE", "/v2/a/manifests/v2").status, 202u);
  EXPECT_EQ(ask("GET", "/v2/a/manifests/v2").status, 404u);
  EXPECT_EQ(ask("GET", "/v2/a/manifests/v1").status, 200u);
  EXPECT_EQ(ask("DELETE", "/v2/a/manifests/" + digest).status, 202u);
  EXPECT_EQ(ask("GET", "/v2/a/manifests/" + digest).status, 404u);
  EXPECT_EQ(ask("GET", "/v2/a/manifests/v1").status, 404u) << "the tag too";
  EXPECT_EQ(ask("GET", "/v2/a/manifests/other").body, other);
  EXPECT_EQ(strings(ask("GET", "/v2/a/tags/list"), "tags"), std::vector<std::string>{"other"});
  const std::string blob = "/v2/a/blobs/" + sha256_text("layer");
  push_blob("b", "layer");
  EXPECT_EQ(ask("DELETE", blob).status, 202u);
  EXPECT_EQ(ask("GET", blob).status, 404u);
  EXPECT_EQ(ask("DELETE", blob).status, 404u);
  EXPECT_EQ(ask("GET", "/v2/b/blobs/" + sha256_text("layer")).body, "layer") << "other repositories keep it";
  EXPECT_EQ(ask("DELETE", "/v2/nobody/manifests/" + digest).status, 404u);
}

}  // namespace
}  // namespace corten::registry::serving
