#include "cache/s3_place.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "base/temp_dir.h"
#include "cache/s3_server_test.h"

namespace corten::cache {
namespace {

NewBlob blob_of(const std::string& bytes) {
  return {oci::describe("application/octet-stream", bytes),
          [bytes](uint64_t offset) { return http::RequestBody::of(bytes.substr(offset)).open(); }};
}
std::string bytes_of(size_t size) {
  std::string bytes;
  for (size_t i = 0; bytes.size() < size; i++) bytes += std::to_string(i) + " ";
  bytes.resize(size);
  return bytes;
}
std::string answer_503(const S3Server::Asked&) {
  return S3Server::refuse("503 Slow Down", "SlowDown", "Please reduce your request rate.");
}

class S3PlaceTest : public testing::Test {
 protected:
  S3PlaceTest() {
    spec_.bucket = "bucket";
    spec_.region = "eu-west-1";
    spec_.endpoint_url = server_.url();
    spec_.use_path_style = true;
    spec_.access_key_id = server_.known.access_key;
    spec_.secret_access_key = server_.known.secret_key;
  }
  S3Place place(uint64_t part_bytes = 1 << 20) {
    return S3Place(spec_, http_, clock_,
                   {.retry = {.attempts = 4, .first_pause_ms = 1, .longest_pause_ms = 5},
                    .environment = [this](const std::string& name) { return environment_[name]; },
                    .part_bytes = part_bytes});
  }
  std::string key_of(const NewBlob& blob) { return "bucket/blobs/" + blob.descriptor.digest.to_string(); }
  size_t count(std::string_view method) {
    return static_cast<size_t>(std::count_if(server_.log.begin(), server_.log.end(),
                                             [&](const auto& asked) { return asked.method == method; }));
  }

  S3Server server_;
  S3Spec spec_;
  SystemClock clock_;
  std::map<std::string, std::string> environment_;
  http::Client http_{
      {.proxies = {}, .timeouts = {2000, 5000}, .connector = [this](const std::string&, uint16_t) {
         return http::connect_plain("127.0.0.1", server_.port(), {2000, 5000});
       }}};
};

TEST_F(S3PlaceTest, KeepsBlobsAndAManifestUnderEachName) {
  spec_.names = {"main", "all"};
  S3Place here = place();
  EXPECT_EQ(here.manifest(), std::nullopt);
  NewBlob blob = blob_of("what a step gave"), empty = blob_of("");
  EXPECT_FALSE(here.has_blob(blob.descriptor));
  here.put_blob(blob);
  here.put_blob(blob);
  here.put_blob(empty);
  EXPECT_EQ(count("PUT"), 2u);
  EXPECT_EQ(server_.objects[key_of(blob)], "what a step gave");
  EXPECT_TRUE(here.has_blob(blob.descriptor));
  EXPECT_EQ(here.read_blob(blob.descriptor, 100), "what a step gave");
  EXPECT_EQ(here.read_blob(empty.descriptor, 100), "");
  EXPECT_THROW(here.read_blob(blob.descriptor, 10), Error);
  TempDir temp = TempDir::for_test();
  UniqueFd into = open_file(temp / "into", O_RDWR | O_CREAT);
  here.fetch_blob(blob.descriptor, into.get());
  EXPECT_EQ(read_file(temp / "into"), "what a step gave");
  here.put_manifest("{\"a\":1}");
  EXPECT_EQ(here.manifest(), "{\"a\":1}");
  EXPECT_EQ(server_.objects["bucket/manifests/main"], "{\"a\":1}");
  server_.objects.erase("bucket/manifests/main");
  EXPECT_EQ(here.manifest(), "{\"a\":1}") << "the first name that is there";
  EXPECT_EQ(here.name(), fmt::format("s3 127.0.0.1:{}/bucket:main;all", server_.port()));
}

TEST_F(S3PlaceTest, TheBucketIsPartOfTheHost) {
  spec_.use_path_style = server_.is_path_style = false;
  spec_.endpoint_url = "http://s3.test:81";
  spec_.prefix = "a b/\xC3\xBC//../+";  // all of it is the key, nothing is tidied
  S3Place here = place();
  NewBlob blob = blob_of("x");
  here.put_blob(blob);
  EXPECT_EQ(here.read_blob(blob.descriptor, 10), "x");
  EXPECT_EQ(server_.log.back().host, "bucket.s3.test:81");
  EXPECT_EQ(server_.log.back().path, "/" + spec_.prefix + "blobs/" + blob.descriptor.digest.to_string());
}

TEST_F(S3PlaceTest, LargeBlobsGoInParts) {
  const std::string bytes = bytes_of(3500);
  NewBlob blob = blob_of(bytes);
  S3Place here = place(1000);
  here.put_blob(blob);
  EXPECT_EQ(server_.objects[key_of(blob)], bytes);
  EXPECT_EQ(count("PUT"), 4u);
  EXPECT_TRUE(server_.uploads.empty());

  // A part that fails is sent again by itself, and hashed once.
  server_.objects.clear();
  server_.log.clear();
  const auto pass = [](const S3Server::Asked&) { return std::string(); };
  server_.fail_next(3, pass);
  server_.fail_next(2, answer_503);
  here.put_blob(blob);
  EXPECT_EQ(server_.objects[key_of(blob)], bytes);
  EXPECT_EQ(count("PUT"), 6u);
}

TEST_F(S3PlaceTest, AnUploadThatFailsIsAborted) {
  const std::string bytes = bytes_of(3500);
  S3Place here = place(1000);
  NewBlob liar = blob_of(bytes);
  liar.open = [&](uint64_t offset) { return http::RequestBody::of(std::string(3500 - offset, 'x')).open(); };
  EXPECT_THROW(here.put_blob(liar), Error);
  EXPECT_TRUE(server_.uploads.empty());
  EXPECT_TRUE(server_.objects.empty());

  const auto pass = [](const S3Server::Asked&) { return std::string(); };
  server_.fail_next(6, pass);  // HEAD, POST, four parts
  server_.fail_next(1, [](const S3Server::Asked&) {
    return http::answer("200 OK", "<Error><Code>InternalError</Code></Error>");
  });
  EXPECT_THROW(here.put_blob(blob_of(bytes)), Error) << "a 200 that holds an error";
  EXPECT_TRUE(server_.uploads.empty());
  EXPECT_TRUE(server_.objects.empty());
}

TEST_F(S3PlaceTest, WrongBytesAreNotLeftThere) {
  NewBlob liar = blob_of("said");
  liar.open = [](uint64_t) { return http::RequestBody::of("gave").open(); };
  EXPECT_THROW(place().put_blob(liar), Error);
  EXPECT_TRUE(server_.objects.empty()) << "the server verifies what is signed";
  server_.fail_next(1, [](const S3Server::Asked&) { return std::string(); });
  server_.fail_next(1, [&](const S3Server::Asked& asked) {  // one that does not
    server_.objects[asked.path.substr(1)] = asked.body;
    return http::answer("200 OK", "");
  });
  EXPECT_THROW(place().put_blob(liar), Error);
  EXPECT_TRUE(server_.objects.empty());
}

TEST_F(S3PlaceTest, BurstsOfRefusalsPass) {
  NewBlob blob = blob_of("x");
  server_.fail_next(3, answer_503);
  place().put_blob(blob);
  server_.fail_next(
      2, [](const S3Server::Asked&) { return S3Server::refuse("500 Oops", "InternalError", "again"); });
  server_.fail_next(1, [](const S3Server::Asked&) {
    return std::string("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n");
  });
  EXPECT_EQ(place().read_blob(blob.descriptor, 10), "x");
  server_.fail_next(4, answer_503);
  std::string words;
  EXPECT_EQ(http::code_of([&] { place().manifest(); }, &words), ErrorCode::kIo);
  EXPECT_NE(words.find("503 SlowDown: Please reduce your request rate."), words.npos) << words;
}

TEST_F(S3PlaceTest, ADownloadThatIsCutGoesOn) {
  const std::string bytes = bytes_of(200'000);
  NewBlob blob = blob_of(bytes);
  S3Place here = place();
  here.put_blob(blob);
  const auto cut = [&](const S3Server::Asked& asked) {
    const size_t from = asked.fields.contains("range") ? std::stoul(asked.fields.at("range").substr(6)) : 0;
    const std::string rest = bytes.substr(from);
    return fmt::format(
        "HTTP/1.1 {}\r\nContent-Length: {}\r\nContent-Range: bytes {}-199999/200000\r\nConnection: "
        "close\r\n\r\n{}",
        from ? "206 Partial Content" : "200 OK", rest.size(), from, rest.substr(0, 50'000));
  };
  server_.log.clear();
  server_.fail_next(3, cut);
  EXPECT_EQ(here.read_blob(blob.descriptor, 1 << 20), bytes);
  EXPECT_EQ(count("GET"), 4u);
  EXPECT_EQ(server_.log.back().fields["range"], "bytes=150000-");
  // One that knows no ranges sends everything again.
  server_.fail_next(1, cut);
  server_.fail_next(1, [&](const S3Server::Asked&) { return http::answer("200 OK", bytes); });
  EXPECT_EQ(here.read_blob(blob.descriptor, 1 << 20), bytes);
  // Other bytes than were asked for are none.
  server_.fail_next(1, cut);
  server_.fail_next(3, [&](const S3Server::Asked&) {
    return http::answer("206 Partial Content", bytes.substr(7), "Content-Range: bytes 7-199999/200000\r\n");
  });
  EXPECT_EQ(http::code_of([&] { here.read_blob(blob.descriptor, 1 << 20); }), ErrorCode::kIo);
  server_.objects[key_of(blob)][5] = '!';
  EXPECT_EQ(http::code_of([&] { here.read_blob(blob.descriptor, 1 << 20); }), ErrorCode::kCorrupt);
  server_.objects[key_of(blob)] = "short";
  EXPECT_FALSE(here.has_blob(blob.descriptor));
  EXPECT_EQ(http::code_of([&] { here.read_blob(blob.descriptor, 1 << 20); }), ErrorCode::kCorrupt);
}

TEST_F(S3PlaceTest, WhatIsMissing) {
  EXPECT_EQ(http::code_of([&] { place().read_blob(blob_of("x").descriptor, 10); }), ErrorCode::kNotFound);
  spec_.bucket = "other";
  std::string words;
  EXPECT_EQ(http::code_of([&] { place().manifest(); }, &words), ErrorCode::kNotFound) << "no empty cache";
  EXPECT_NE(words.find("NoSuchBucket"), words.npos);
  EXPECT_THROW(place().put_manifest("{}"), Error);
}

TEST_F(S3PlaceTest, WrongKeysAreRefusedAndNeverShown) {
  std::string words;
  // The server is so kind as to repeat the secret, and to colour it.
  spec_.secret_access_key = server_.known.secret_key;
  spec_.region = "us-east-2";
  EXPECT_EQ(http::code_of([&] { place().manifest(); }, &words), ErrorCode::kPermission);
  EXPECT_NE(words.find("403 SignatureDoesNotMatch"), words.npos) << words;
  EXPECT_EQ(words.find(spec_.secret_access_key), words.npos) << words;
  EXPECT_EQ(words.find('\x1b'), words.npos);
  EXPECT_EQ(words.find("StringToSign"), words.npos);
  spec_.access_key_id = "AKIDOTHER";
  EXPECT_EQ(http::code_of([&] { place().manifest(); }, &words), ErrorCode::kPermission);
  EXPECT_NE(words.find("InvalidAccessKeyId"), words.npos) << words;
  EXPECT_EQ(http::code_of([&] { place().has_blob(blob_of("x").descriptor); }), ErrorCode::kPermission);
  EXPECT_EQ(count("GET"), 2u) << "nothing of this is tried again";
}

TEST_F(S3PlaceTest, KeysOfTheEnvironmentAreRenewed) {
  spec_.access_key_id = spec_.secret_access_key = "";
  server_.known.session_token = "second-hour";
  environment_ = {{"AWS_ACCESS_KEY_ID", server_.known.access_key},
                  {"AWS_SECRET_ACCESS_KEY", server_.known.secret_key},
                  {"AWS_SESSION_TOKEN", "first-hour"}};
  S3Place here = place();
  EXPECT_EQ(http::code_of([&] { here.manifest(); }), ErrorCode::kFailed) << "still the old one";
  server_.fail_next(1, [&](const S3Server::Asked&) {
    environment_["AWS_SESSION_TOKEN"] = "second-hour";
    return std::string();
  });
  EXPECT_EQ(here.manifest(), std::nullopt);
  environment_ = {{"AWS_EC2_METADATA_DISABLED", "true"}, {"HOME", "/nowhere"}};
  EXPECT_EQ(http::code_of([&] { place().manifest(); }), ErrorCode::kPermission) << "no request without keys";
}

TEST_F(S3PlaceTest, Regions) {
  spec_.region = "";
  environment_["AWS_REGION"] = "eu-west-1";
  EXPECT_EQ(place().manifest(), std::nullopt);
  environment_.clear();
  server_.region = "us-east-1";
  EXPECT_EQ(place().manifest(), std::nullopt) << "what servers of one's own expect";
  server_.fail_next(1, [](const S3Server::Asked&) {
    return S3Server::refuse("301 Moved", "PermanentRedirect", "elsewhere",
                            "x-amz-bucket-region: ap-south-1\r\nLocation: http://elsewhere.test/\r\n");
  });
  try {
    place().manifest();
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(error.hint().find("region=ap-south-1"), std::string::npos) << error.what();
  }
  spec_.endpoint_url = "";
  EXPECT_EQ(http::code_of([&] { place(); }), ErrorCode::kUsage);
}

TEST_F(S3PlaceTest, AsManyUploadsAtOnceAsWereAskedFor) {
  spec_.upload_parallelism = 2;
  S3Place here = place();
  std::atomic<int> open = 0, most = 0;
  struct Counted : archive::ByteSource {
    std::unique_ptr<archive::ByteSource> from;
    std::atomic<int>& open;
    Counted(std::unique_ptr<archive::ByteSource> source, std::atomic<int>& count)
        : from(std::move(source)), open(count) {}
    ~Counted() override { open--; }
    size_t read(void* data, size_t size) override { return from->read(data, size); }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; i++)
    threads.emplace_back([&, i] {
      NewBlob blob = blob_of(fmt::format("blob {}", i));
      blob.open = [&, i](uint64_t) -> std::unique_ptr<archive::ByteSource> {
        const int now = ++open;
        for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
        }
        return std::make_unique<Counted>(http::RequestBody::of(fmt::format("blob {}", i)).open(), open);
      };
      here.put_blob(blob);
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(server_.objects.size(), 8u);
  EXPECT_LE(most, 2);
}

}  // namespace
}  // namespace corten::cache
