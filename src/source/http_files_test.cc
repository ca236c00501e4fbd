#include "source/http_files.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/subprocess.h"
#include "http/server_test.h"

namespace corten::source {
namespace {

using http::answer;
using http::code_of;
using http::quick;
using http::Server;

class HttpFilesTest : public ::testing::Test {
 protected:
  std::string answer_now(const std::string& request) {
    requests_.push_back(request);
    if (request.starts_with("GET /missing")) return answer("404 Not Found", "");
    std::string fields = more_;
    if (!etag_.empty()) fields += "ETag: " + etag_ + "\r\n";
    if (request.starts_with("GET /always")) return answer("200 OK", body_, fields);
    if (!etag_.empty() && request.find("If-None-Match: " + etag_) != std::string::npos)
      return "HTTP/1.1 304 Not Modified\r\n" + fields + "\r\n";
    if (request.find("If-Modified-Since: ") != std::string::npos)
      return "HTTP/1.1 304 Not Modified\r\n" + fields + "\r\n";
    return answer("200 OK", body_, fields);
  }
  HttpFiles files(HttpAccess access = {}) { return HttpFiles(store_, quick(), std::move(access)); }

  std::string gzip_of(std::string_view text) {
    write_file_atomic(place_ / "plain", text);
    run_subprocess({"gzip", "-k", place_ / "plain"});
    return place_ / "plain.gz";
  }

  TempDir place_ = TempDir::for_test();
  store::Store store_{place_ / "store"};
  std::vector<std::string> requests_;
  std::string body_ = "body", etag_, more_;
  Server server_{[this](const std::string& request) { return answer_now(request); }};
};

TEST_F(HttpFilesTest, RevalidatedByETag) {
  etag_ = "\"one\"";
  more_ = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
  HttpFile first = files().fetch(server_.url("/x"), {});
  EXPECT_EQ(first.content, Digest::of("body"));
  EXPECT_EQ(first.size, 4u);
  EXPECT_EQ(first.modified, 784111777);
  body_ = "ignored, since the tag says that nothing changed";
  HttpFile second = files().fetch(server_.url("/x"), {});
  EXPECT_EQ(second.content, first.content);
  EXPECT_EQ(second.modified, first.modified);
  etag_ = "\"two\"";
  EXPECT_EQ(files().fetch(server_.url("/x"), {}).content, Digest::of(body_));
  EXPECT_EQ(requests_.size(), 3u);
}

TEST_F(HttpFilesTest, AWeakTagWithABodyIsRead) {
  etag_ = "W/\"one\"";
  files().fetch(server_.url("/always"), {});
  body_ = "other";
  EXPECT_EQ(files().fetch(server_.url("/always"), {}).content, Digest::of("other"));
  etag_ = "\"one\"";
  files().fetch(server_.url("/always"), {});
  body_ = "the same, it says";
  EXPECT_EQ(files().fetch(server_.url("/always"), {}).content, Digest::of("other"));
}

TEST_F(HttpFilesTest, RevalidatedByTime) {
  more_ = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
  files().fetch(server_.url("/x"), {});
  body_ = "other";
  EXPECT_EQ(files().fetch(server_.url("/x"), {}).content, Digest::of("body"));
}

TEST_F(HttpFilesTest, WithoutEitherItIsReadAgain) {
  files().fetch(server_.url("/x"), {});
  body_ = "other";
  HttpFiles mine = files();
  EXPECT_EQ(mine.fetch(server_.url("/x"), {}).content, Digest::of("other"));
  body_ = "third";
  EXPECT_EQ(mine.fetch(server_.url("/x"), {}).content, Digest::of("other")) << "once in a build";
}

TEST_F(HttpFilesTest, AChecksumThatTheStoreHasNeedsNoNetwork) {
  files().fetch(server_.url("/x"), {.checksum = Digest::of("body")});
  EXPECT_EQ(requests_.size(), 1u);
  EXPECT_EQ(files().fetch(server_.url("/x"), {.checksum = Digest::of("body")}).size, 4u);
  EXPECT_EQ(files().fetch("http://nowhere.invalid/y", {.checksum = Digest::of("body")}).size, 4u);
  EXPECT_EQ(files().fetch(server_.url("/x"), {.checksum = Digest::of("body"), .needs_time = true}).size, 4u);
  EXPECT_EQ(requests_.size(), 1u);
  std::string words;
  EXPECT_EQ(code_of([&] { files().fetch(server_.url("/x"), {.checksum = Digest::of("other")}); }, &words),
            ErrorCode::kCorrupt);
  EXPECT_NE(words.find("digest mismatch for " + server_.url("/x") + ": " + Digest::of("body").to_string()),
            std::string::npos);
}

TEST_F(HttpFilesTest, Credentials) {
  HttpAccess access;
  access.secret = [](const std::string& id) -> std::optional<std::string> {
    if (id == "HTTP_AUTH_TOKEN_127.0.0.1") return "t0ken\n";
    return std::nullopt;
  };
  files(access).fetch(server_.url("/x"), {});
  EXPECT_NE(requests_.back().find("Authorization: Bearer t0ken\r\n"), std::string::npos);
}

TEST_F(HttpFilesTest, LimitsAndErrors) {
  std::string words;
  EXPECT_EQ(code_of([&] { files().fetch(server_.url("/missing"), {}); }, &words), ErrorCode::kNotFound);
  EXPECT_NE(words.find("invalid response status 404"), std::string::npos);
  body_ = std::string(1000, 'x');
  HttpAccess access;
  access.max_bytes = 100;
  EXPECT_EQ(code_of([&] { files(access).fetch(server_.url("/big"), {}); }, &words), ErrorCode::kInvalid);
  EXPECT_EQ(code_of([&] { files().fetch("file:///etc/passwd", {}); }), ErrorCode::kInvalid);
}

TEST_F(HttpFilesTest, TellsHowMuchHasCome) {
  body_ = std::string(300'000, 'x');
  HttpFiles::Options options;
  uint64_t seen = 0;
  options.progress = [&](uint64_t current, uint64_t total) {
    EXPECT_GT(current, seen);
    EXPECT_EQ(total, body_.size());
    seen = current;
  };
  files().fetch(server_.url("/x"), options);
  EXPECT_EQ(seen, body_.size());
}

TEST_F(HttpFilesTest, BytesThatAreCompressedOnTheWay) {
  body_ = read_file(gzip_of("body"));
  more_ = "Content-Encoding: gzip\r\n";
  EXPECT_EQ(files().fetch(server_.url("/x"), {}).content, Digest::of("body"));
  body_ = "no gzip";
  EXPECT_NE(code_of([&] { files().fetch(server_.url("/y"), {}); }), ErrorCode::kInternal);
}

TEST(HttpFileName, FromTheAddress) {
  EXPECT_EQ(http_file_name("http://e.com/a/b.tar.gz?x=/y#z"), "b.tar.gz");
  EXPECT_EQ(http_file_name("http://e.com/a/"), "a");
  EXPECT_EQ(http_file_name("http://e.com/a%20b"), "a b");
  EXPECT_EQ(http_file_name("http://e.com"), "__unnamed__");
  EXPECT_EQ(http_file_name("http://e.com/"), "__unnamed__");
  EXPECT_EQ(http_file_name("http://e.com/x%0Ay"), "download");
  EXPECT_EQ(http_file_name("http://e.com/x%1b%5b31m"), "download");
  EXPECT_EQ(http_file_name("http://e.com/a/%2e%2e"), "download");
  EXPECT_EQ(http_file_name("http://e.com/..%2f..%2fetc%2fpasswd"), "passwd");
}

}  // namespace
}  // namespace corten::source
