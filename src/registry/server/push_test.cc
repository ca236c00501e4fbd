// distribution-spec, "Push", sentence by sentence.
#include "base/beneath.h"
#include "base/json.h"
#include "registry/server/raw_client_test.h"

namespace corten::registry::serving {
namespace {

std::string code_of(const RawAnswer& answer) {
  return Json::parse(answer.body).find("errors")->as_array().at(0).get_string("code");
}

TEST_F(ServerTest, PostThenPut) {
  const RawAnswer begun = ask("POST", "/v2/a/b/blobs/uploads/");
  ASSERT_EQ(begun.status, 202u);
  const std::string location = begun.field("Location");
  EXPECT_TRUE(is_upload_id(location.substr(location.rfind('/') + 1))) << location;
  const std::string bytes = "some bytes", digest = sha256_text(bytes);
  const RawAnswer ended = ask("PUT", location + "?digest=" + digest, bytes);
  EXPECT_EQ(ended.status, 201u);
  EXPECT_EQ(ended.field("Location"), "/v2/a/b/blobs/" + digest);
  EXPECT_EQ(ended.field("Docker-Content-Digest"), digest);
  EXPECT_EQ(ask("GET", ended.field("Location")).body, bytes);
  EXPECT_EQ(ask("GET", location).status, 404u) << "the session has ended";
  EXPECT_EQ(ask("GET", "/v2/a/c/blobs/" + digest).status, 404u) << "another repository";
}

TEST_F(ServerTest, SinglePostOfBlobsOfEverySize) {
  for (const size_t size :
       {size_t{0}, size_t{1}, size_t{kSmallBlob}, size_t{kSmallBlob + 1}, size_t{3'000'000}}) {
    std::string bytes(size, 'x');
    for (size_t i = 0; i < bytes.size(); i += 7) bytes[i] = static_cast<char>(i * 31);
    const std::string digest = push_blob("a", bytes);
    EXPECT_TRUE(ask("GET", "/v2/a/blobs/" + digest).body == bytes) << size;
    const std::string sha512 = ContentDigest::of(Algorithm::kSha512, bytes).to_string();
    EXPECT_EQ(ask("POST", "/v2/a/blobs/uploads/?digest=" + sha512, bytes).status, 201u);
    EXPECT_TRUE(ask("GET", "/v2/a/blobs/" + sha512).body == bytes) << size;
  }
}

TEST_F(ServerTest, DigestsThatAreWrong) {
  const std::string bytes = "some bytes", other = sha256_text("other");
  for (const std::string& digest : {std::string("sha256:abc"), std::string("md5:00"), std::string("nonsense"),
                                    other, "SHA256:" + other.substr(7)}) {
    EXPECT_EQ(code_of(ask("POST", "/v2/a/blobs/uploads/?digest=" + digest, bytes)), "DIGEST_INVALID")
        << digest;
    const RawAnswer answer = ask("PUT", begin_upload("a") + "?digest=" + digest, bytes);
    EXPECT_EQ(answer.status, 400u) << digest;
    EXPECT_EQ(code_of(answer), "DIGEST_INVALID") << digest;
  }
  const std::string big(500'000, 'b');
  EXPECT_EQ(ask("PUT", begin_upload("a") + "?digest=" + other, big).status, 400u);
  EXPECT_EQ(ask("GET", "/v2/a/blobs/" + other).status, 404u);
  EXPECT_EQ(ask("PUT", begin_upload("a"), bytes).status, 400u) << "without a digest";
  EXPECT_EQ(ask("POST", "/v2/a/blobs/uploads/?digest-algorithm=md5").status, 400u);
}

TEST_F(ServerTest, ChunksInOrder) {
  std::string location = begin_upload("a");
  const std::string bytes = "0123456789", digest = sha256_text(bytes);
  RawAnswer answer = ask("PATCH", location, "0123", {{"Content-Range", "0-3"}});
  EXPECT_EQ(answer.status, 202u);
  EXPECT_EQ(answer.field("Range"), "0-3");
  location = answer.field("Location");

  answer = ask("PATCH", location, "6789", {{"Content-Range", "6-9"}});
  EXPECT_EQ(answer.status, 416u);
  answer = ask("GET", location);
  EXPECT_EQ(answer.status, 204u);
  EXPECT_EQ(answer.field("Range"), "0-3");
  EXPECT_EQ(answer.field("Location"), location);
  EXPECT_EQ(ask("PATCH", location, "0123", {{"Content-Range", "0-3"}}).status, 416u) << "twice";
  EXPECT_EQ(ask("PUT", location + "?digest=" + digest, "89", {{"Content-Range", "8-9"}}).status, 416u);

  EXPECT_EQ(ask("PATCH", location, "45", {{"Content-Range", "4-5"}}).field("Range"), "0-5");
  answer = ask("PUT", location + "?digest=" + digest, "6789", {{"Content-Range", "6-9"}});
  EXPECT_EQ(answer.status, 201u);
  EXPECT_EQ(ask("GET", "/v2/a/blobs/" + digest).body, bytes);
}

TEST_F(ServerTest, ChunksThatLie) {
  const std::string location = begin_upload("a");
  EXPECT_EQ(ask("PATCH", location, "0123", {{"Content-Range", "0-9"}}).status, 400u);
  EXPECT_EQ(ask("PATCH", location, "0123", {{"Content-Range", "0-1"}}).status, 400u);
  EXPECT_EQ(ask("PATCH", location, "0123", {{"Content-Range", "3-0"}}).status, 400u);
  EXPECT_EQ(ask("PATCH", location, "0123", {{"Content-Range", "zero"}}).status, 400u);
  RawClient chunked = client();
  chunked.send("PATCH " + location +
               " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Range: "
               "0-3\r\n\r\n6\r\n012345\r\n0\r\n\r\n");
  EXPECT_EQ(chunked.receive().status, 400u);
  EXPECT_EQ(ask("PATCH", location, "0123", {{"Content-Range", "0-3"}}).status, 202u)
      << "nothing of those stayed";
  EXPECT_EQ(ask("PUT", location + "?digest=" + sha256_text("0123")).status, 201u);
}

TEST_F(ServerTest, StreamedChunks) {
  const std::string location = begin_upload("a");
  RawClient client = this->client();
  client.send("PATCH " + location +
              " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n");
  client.send("3;x=y\r\nefg\r\n");
  client.send("0\r\n\r\n");
  const RawAnswer answer = client.receive();
  EXPECT_EQ(answer.status, 202u);
  EXPECT_EQ(answer.field("Range"), "0-6");
  EXPECT_EQ(client.ask("PUT", location + "?digest=" + sha256_text("abcdefg")).status, 201u);
  EXPECT_EQ(client.ask("GET", "/v2/a/blobs/" + sha256_text("abcdefg")).body, "abcdefg");
}

// What came stays: the client asks, and goes on.
TEST_F(ServerTest, AConnectionThatIsLostInAChunk) {
  const std::string location = begin_upload("a");
  const std::string bytes(300'000, 'q');
  {
    RawClient lost = client();
    lost.send("PATCH " + location + " HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" +
              bytes.substr(0, 200'000));
    while (ask("GET", location).field("Range") != "0-199999") {
    }
  }
  const RawAnswer answer =
      ask("PATCH", location, std::string_view(bytes).substr(200'000), {{"Content-Range", "200000-299999"}});
  EXPECT_EQ(answer.status, 202u) << answer.body;
  EXPECT_EQ(ask("PUT", location + "?digest=" + sha256_text(bytes)).status, 201u);
}

// The first connection hangs; a second one takes the upload over, and the first one's bytes count no more.
TEST_F(ServerTest, AnUploadIsTakenOver) {
  const std::string location = begin_upload("a");
  RawClient hanging = client();
  hanging.send("PATCH " + location + " HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
  while (ask("GET", location).field("Range") != "0-2") {
  }
  EXPECT_EQ(ask("PATCH", location, "def", {{"Content-Range", "3-5"}}).status, 202u);
  hanging.send("XXXXXXX");
  EXPECT_EQ(hanging.receive().status, 409u);
  EXPECT_EQ(ask("PUT", location + "?digest=" + sha256_text("abcdef")).status, 201u);
}

TEST_F(ServerTest, UploadsSurviveARestart) {
  const std::string bytes(400'000, 'r');
  const std::string location = begin_upload("a"), empty = begin_upload("a");
  EXPECT_EQ(ask("PATCH", location, std::string_view(bytes).substr(0, 150'000)).status, 202u);
  stop();
  EXPECT_EQ(ask("GET", location).field("Range"), "0-149999");
  EXPECT_EQ(ask("PATCH", location, std::string_view(bytes).substr(150'000)).status, 202u);
  EXPECT_EQ(ask("PUT", location + "?digest=" + sha256_text(bytes)).status, 201u);
  EXPECT_TRUE(ask("GET", "/v2/a/blobs/" + sha256_text(bytes)).body == bytes);
  EXPECT_EQ(ask("PUT", empty + "?digest=" + sha256_text("x"), "x").status, 201u);
}

TEST_F(ServerTest, Cancel) {
  const std::string location = begin_upload("a");
  EXPECT_EQ(ask("PATCH", location, "abc").status, 202u);
  EXPECT_EQ(ask("DELETE", location).status, 204u);
  EXPECT_EQ(ask("GET", location).status, 404u);
  EXPECT_EQ(code_of(ask("PATCH", location, "abc")), "BLOB_UPLOAD_UNKNOWN");
  EXPECT_EQ(ask("DELETE", location).status, 404u);
  EXPECT_EQ(ask("GET", replace_all(begin_upload("a"), "/v2/a/", "/v2/b/")).status, 404u)
      << "another repository";
  EXPECT_EQ(ask("GET", "/v2/a/blobs/uploads/../../../format").status, 404u);
}

TEST_F(ServerTest, Mount) {
  const std::string digest = push_blob("a", "bytes");
  RawAnswer answer = ask("POST", "/v2/b/blobs/uploads/?mount=" + digest + "&from=a");
  EXPECT_EQ(answer.status, 201u);
  EXPECT_EQ(answer.field("Location"), "/v2/b/blobs/" + digest);
  EXPECT_EQ(ask("GET", "/v2/b/blobs/" + digest).body, "bytes");
  EXPECT_EQ(ask("POST", "/v2/c/blobs/uploads/?mount=" + digest).status, 201u) << "from wherever";
  // What is not there: an upload instead, that works.
  answer = ask("POST", "/v2/b/blobs/uploads/?mount=" + sha256_text("new") + "&from=a");
  EXPECT_EQ(answer.status, 202u);
  EXPECT_EQ(ask("PUT", answer.field("Location") + "?digest=" + sha256_text("new"), "new").status, 201u);
  EXPECT_EQ(ask("POST", "/v2/d/blobs/uploads/?mount=" + digest + "&from=nowhere").status, 202u);
  EXPECT_EQ(ask("GET", "/v2/d/blobs/" + digest).status, 404u);
  EXPECT_EQ(ask("POST", "/v2/d/blobs/uploads/?mount=nonsense&from=a").status, 400u);
}

TEST_F(ServerTest, ManifestsKeepTheirBytes) {
  push_blob("a", "{}");
  push_blob("a", "layer");
  const std::string manifest = "  " + manifest_text("{}", "layer", R"(,"org.example":[1, 2.50])") + "\n\n";
  const std::string digest = sha256_text(manifest);
  const RawAnswer answer = put_manifest("a", "v1", manifest, std::string(kManifestType) + "; charset=utf-8");
  EXPECT_EQ(answer.status, 201u);
  EXPECT_EQ(answer.field("Location"), "/v2/a/manifests/" + digest);
  EXPECT_EQ(answer.field("Docker-Content-Digest"), digest);
  for (const std::string& reference : {std::string("v1"), digest}) {
    const RawAnswer got = ask("GET", "/v2/a/manifests/" + reference);
    EXPECT_EQ(got.status, 200u);
    EXPECT_EQ(got.body, manifest);
    EXPECT_EQ(got.field("Content-Type"), kManifestType) << "no parameters";
    EXPECT_EQ(got.field("Docker-Content-Digest"), digest);
  }
}

TEST_F(ServerTest, ManifestsThatAreRefused) {
  push_blob("a", "{}");
  const RawAnswer missing = put_manifest("a", "v1", manifest_text("{}", "not pushed"));
  EXPECT_EQ(missing.status, 400u);
  EXPECT_EQ(code_of(missing), "MANIFEST_BLOB_UNKNOWN");
  EXPECT_EQ(code_of(put_manifest("a", "v1", "no JSON")), "MANIFEST_INVALID");
  EXPECT_EQ(code_of(put_manifest("a", "v1", "[]")), "MANIFEST_INVALID");
  EXPECT_EQ(code_of(put_manifest("a", "v1", R"({"layers":[{"digest":"../../x","size":1}]})")),
            "MANIFEST_INVALID");
  push_blob("a", "layer");
  const std::string good = manifest_text("{}", "layer");
  EXPECT_EQ(code_of(put_manifest("a", "v1", good, "application/vnd.oci.image.index.v1+json")),
            "MANIFEST_INVALID");
  EXPECT_EQ(code_of(put_manifest("a", sha256_text("other"), good)), "DIGEST_INVALID");
  EXPECT_EQ(put_manifest("a", "sha256:short", good).status, 400u);
  EXPECT_EQ(put_manifest("a", "-tag", good).status, 400u);
  EXPECT_EQ(put_manifest("a", std::string(129, 't'), good).status, 400u);
  EXPECT_EQ(put_manifest("a", std::string(128, 't'), good).status, 201u);
  EXPECT_EQ(code_of(put_manifest("Upper", "v1", good)), "NAME_INVALID");
  EXPECT_EQ(put_manifest("a/../b", "v1", good).status, 400u);
  EXPECT_EQ(ask("GET", "/v2/a/manifests/v1").status, 404u) << "nothing was kept";
}

// "at least 4 megabytes"; beyond the limit 413, told or not.
TEST_F(ServerTest, BigManifests) {
  push_blob("a", "{}");
  push_blob("a", "layer");
  std::string manifest = manifest_text("{}", "layer", R"(,"annotations":{"a":")");
  manifest.pop_back();
  manifest += std::string(kMaxManifest - manifest.size() - 3, 'x') + "\"}}";
  ASSERT_EQ(manifest.size(), kMaxManifest);
  EXPECT_EQ(put_manifest("a", "big", manifest).status, 201u);
  EXPECT_TRUE(ask("GET", "/v2/a/manifests/big").body == manifest);
  EXPECT_EQ(put_manifest("a", "big", manifest + " ").status, 413u);
  RawClient chunked = client();
  chunked.send("PUT /v2/a/manifests/big HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 7; i++) chunked.send("100000\r\n" + std::string(1 << 20, ' ') + "\r\n");
  EXPECT_EQ(chunked.receive().status, 413u);
}

TEST_F(ServerTest, SeveralTagsInOnePush) {
  const std::string manifest = push_image("a", "old"), digest = sha256_text(manifest);
  const RawAnswer answer = put_manifest("a", digest + "?tag=1.2.3&tag=1.2&tag=1&tag=latest", manifest);
  EXPECT_EQ(answer.status, 201u);
  EXPECT_EQ(answer.field("OCI-Tag"), "1.2.3, 1.2, 1, latest");
  for (const char* tag : {"1.2.3", "1.2", "1", "latest"})
    EXPECT_EQ(ask("GET", fmt::format("/v2/a/manifests/{}", tag)).body, manifest) << tag;
  EXPECT_EQ(put_manifest("a", digest + "?tag=good&tag=-bad", manifest).status, 400u);
  EXPECT_EQ(ask("GET", "/v2/a/manifests/good").status, 404u) << "all or nothing";
  std::string many = digest + "?n=1";
  for (int i = 0; i < 60; i++) many += fmt::format("&tag=t{}", i);
  EXPECT_EQ(put_manifest("a", many, manifest).status, 201u);
  for (int i = 60; i < 200; i++) many += fmt::format("&tag=t{}", i);
  EXPECT_GE(put_manifest("a", many, manifest).status, 400u);
}

TEST_F(ServerTest, SubjectsAreTold) {
  const std::string subject = sha256_text("not pushed yet");
  push_blob("a", "{}");
  push_blob("a", "layer");
  const std::string manifest = manifest_text(
      "{}", "layer",
      fmt::format(R"(,"subject":{{"mediaType":"{}","digest":"{}","size":3}})", kManifestType, subject));
  EXPECT_EQ(put_manifest("a", "artifact", manifest).field("OCI-Subject"), subject);
  EXPECT_EQ(put_manifest("a", "plain", manifest_text("{}", "layer")).field("OCI-Subject"), "");
}

// Only a directory of ours, and one server at a time.
TEST_F(ServerTest, TheRoot) {
  start();
  EXPECT_THROW(Server{options_}, Error);
  stop();
  options_.service.root = directory_ / "other";
  make_directories_on_host(directory_ / "other/things");
  EXPECT_THROW(Server{options_}, Error);
}

}  // namespace
}  // namespace corten::registry::serving
