// The client against a registry that misbehaves (fault_proxy_test.h): a pull or push ends right, or with an
// error that says why, after a bounded number of requests, and sends nothing twice that need not be.
#include "registry/remote_faults_test.h"

#include <gtest/gtest.h>

#include <atomic>

namespace corten::registry {
namespace {

using serving::kManifestType;
using serving::manifest_text;
using serving::RawAnswer;
using serving::sha256_text;

// --- Pulls ---

TEST_F(RemoteFaults, ACutBlobGoesOnWhereItStood) {
  const std::string bytes = pattern(300'000);
  const oci::Descriptor blob = stored(bytes);
  proxy_->play({{.path = "/blobs/", .from = 1, .cut = 100'000}, {.path = "/blobs/", .cut = 50'000}});
  EXPECT_TRUE(fetch(blob) == bytes);
  const auto seen = proxy_->seen("GET", "/blobs/");
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen[0].field("Range"), "");
  EXPECT_EQ(seen[1].field("Range"), "bytes=100000-");
  EXPECT_EQ(seen[2].field("Range"), "bytes=150000-");
}

TEST_F(RemoteFaults, AStalledBlobGoesOnWhereItStood) {
  settle(puller_, 300);
  const std::string bytes = pattern(300'000);
  const oci::Descriptor blob = stored(bytes);
  proxy_->play({{.path = "/blobs/", .cut = 100'000, .stalls = true}});
  EXPECT_TRUE(fetch(blob) == bytes);
  const auto seen = proxy_->seen("GET", "/blobs/");
  ASSERT_GE(seen.size(), 2u);
  EXPECT_EQ(seen[1].field("Range"), "bytes=100000-");
}

TEST_F(RemoteFaults, AServerWithoutRangesSendsAllAgain) {
  const std::string bytes = pattern(300'000);
  const oci::Descriptor blob = stored(bytes);
  const auto whole = [&](RawAnswer& answer) {
    answer.status = 200;
    answer.body = bytes;
    set_field(answer, "Content-Range", "");
    set_field(answer, "Content-Length", std::to_string(bytes.size()));
  };
  proxy_->play({{.path = "/blobs/", .cut = 100'000}, {.path = "/blobs/", .edit = whole}});
  EXPECT_TRUE(fetch(blob) == bytes);
  // One that says so.
  proxy_->play({{.path = "/blobs/", .cut = 100'000},
                {.path = "/blobs/", .instead = raw_answer("416 Range Not Satisfiable")}});
  EXPECT_TRUE(fetch(blob) == bytes);
  EXPECT_EQ(proxy_->seen("GET", "/blobs/").size(), 3u);
}

TEST_F(RemoteFaults, ALyingRangeIsNotTaken) {
  const std::string bytes = pattern(300'000);
  const oci::Descriptor blob = stored(bytes);
  const auto lie = [](RawAnswer& answer) { set_field(answer, "Content-Range", "bytes 99999-299998/300000"); };
  proxy_->play({{.path = "/blobs/", .cut = 100'000}, {.path = "/blobs/", .edit = lie}});
  EXPECT_TRUE(fetch(blob) == bytes);
  EXPECT_EQ(error({{.path = "/blobs/", .cut = 100'000}, {.path = "/blobs/", .times = 0, .edit = lie}},
                  [&] { fetch(blob); }),
            ErrorCode::kIo);
  EXPECT_TRUE(says("bytes from 100000 on were asked for, these are bytes 99999-")) << words_;
  EXPECT_LE(proxy_->seen().size(), 6u);
}

TEST_F(RemoteFaults, WrongBytesAreNotTaken) {
  const std::string bytes = pattern(300'000);
  const oci::Descriptor blob = stored(bytes);
  const auto flip = [](RawAnswer& answer) { answer.body[70'000] ^= 1; };
  EXPECT_EQ(error({{.path = "/blobs/", .times = 0, .edit = flip}}, [&] { fetch(blob); }),
            ErrorCode::kCorrupt);
  EXPECT_TRUE(says(blob.digest.to_string())) << words_;
  const auto shorten = [](RawAnswer& answer) {
    answer.body.resize(200'000);
    set_field(answer, "Content-Length", "200000");
  };
  EXPECT_EQ(error({{.path = "/blobs/", .times = 0, .edit = shorten}}, [&] { fetch(blob); }),
            ErrorCode::kCorrupt);
  EXPECT_TRUE(says("has 200000 bytes of it, the manifest says 300000")) << words_;
  // The manifest's size lies.
  oci::Descriptor larger = blob;
  larger.size = 1'000'000'000'000;
  EXPECT_EQ(error({}, [&] { fetch(larger); }), ErrorCode::kCorrupt);
  EXPECT_EQ(proxy_->seen().size(), 1u);
}

TEST_F(RemoteFaults, ABlobThatIsAlwaysCutIsGivenUp) {
  const oci::Descriptor blob = stored(pattern(300'000));
  EXPECT_EQ(error({{.path = "/blobs/", .times = 0, .cut = 10}}, [&] { fetch(blob); }), ErrorCode::kIo);
  EXPECT_LE(proxy_->seen().size(), 5u);
  // Refusals are not multiplied by the tries of a download.
  EXPECT_EQ(error({{.path = "/blobs/", .times = 0, .instead = raw_answer("503 Busy", "later")}},
                  [&] { fetch(blob); }),
            ErrorCode::kIo);
  EXPECT_TRUE(says("503: later")) << words_;
  EXPECT_EQ(proxy_->seen().size(), 5u);
  EXPECT_EQ(error({{.path = "/blobs/", .times = 0, .takes = 0}}, [&] { fetch(blob); }), ErrorCode::kIo);
  EXPECT_LE(proxy_->seen().size(), 6u);  // the first may have been an idle connection
}

TEST_F(RemoteFaults, ManifestsThroughBadMoments) {
  const std::string manifest = push_image("app", "v1");
  for (const Fault& fault :
       std::vector<Fault>{{.cut = 20},
                          {.takes = 0},
                          {.instead = raw_answer("500 Oops")},
                          {.times = 3, .instead = raw_answer("502 Bad Gateway", "<html>")},
                          {.instead = raw_answer("429 Slow", "", "Retry-After: 0\r\n")},
                          {.instead = raw_answer("429 Slow", "", "Retry-After: 1\r\n")}}) {
    proxy_->play({fault});
    EXPECT_EQ(remote().manifest(name("app:v1")).bytes, manifest);
    proxy_->play({fault});
    EXPECT_EQ(remote().find(name("app:v1"))->digest, Digest::of(manifest));
  }
}

TEST_F(RemoteFaults, StallsOfHeadersEnd) {
  const std::string manifest = push_image("app", "v1");
  settle(puller_, 300);
  proxy_->play({{.cut = 20, .stalls = true}});
  EXPECT_EQ(remote().manifest(name("app:v1")).bytes, manifest);
  proxy_->play({{.method = "HEAD", .instead = "HTTP/1.1 200 OK\r\nX: "}});
  EXPECT_TRUE(remote().find(name("app:v1")));
  EXPECT_LE(proxy_->seen().size(), 3u);
}

TEST_F(RemoteFaults, LyingManifests) {
  const std::string manifest = push_image("app", "v1");
  const auto by_tag = [&] { remote().manifest(name("app:v1")); };
  const auto by_digest = [&] { remote().manifest(name("app@" + sha256_text(manifest))); };
  const auto flip = [](RawAnswer& answer) { answer.body[answer.body.find("layer")] = 'L'; };
  const auto other = [](RawAnswer& answer) {
    set_field(answer, "Docker-Content-Digest", sha256_text("something else"));
  };
  const auto shorten = [](RawAnswer& answer) {
    answer.body.pop_back();
    set_field(answer, "Content-Length", std::to_string(answer.body.size()));
  };
  for (const auto& lie : std::vector<std::function<void(RawAnswer&)>>{flip, other, shorten}) {
    EXPECT_EQ(error({{.times = 0, .edit = lie}}, by_tag), ErrorCode::kCorrupt);
    EXPECT_EQ(error({{.times = 0, .edit = lie}}, by_digest), ErrorCode::kCorrupt);
    EXPECT_EQ(proxy_->seen().size(), 1u);
  }
  EXPECT_EQ(
      error({{.times = 0, .edit = other}}, [&] { remote().find(name("app@" + sha256_text(manifest))); }),
      ErrorCode::kCorrupt);
}

TEST_F(RemoteFaults, WhatIsNoManifestIsNamed) {
  const std::string answer = raw_answer("200 OK", "\x1f\x8b\x08");
  error({{.times = 0, .instead = answer}}, [&] { remote().manifest(name("app:v1")); });
  EXPECT_TRUE(says("app:v1: 127.0.0.1")) << words_;
}

TEST_F(RemoteFaults, EndlessManifestsAreBounded) {
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Type: " + std::string(oci::kOciManifest) + "\r\n";
  const std::string block = std::string("10000\r\n") + std::string(65536, ' ') + "\r\n";
  EXPECT_EQ(error({{.times = 0, .instead = head + "Transfer-Encoding: chunked\r\n\r\n", .endless = block}},
                  [&] { remote().manifest(name("app:v1")); }),
            ErrorCode::kInvalid);
  EXPECT_EQ(error({{.times = 0, .instead = head + "Content-Length: 268435456\r\n\r\n", .endless = block}},
                  [&] { remote().manifest(name("app:v1")); }),
            ErrorCode::kInvalid);
  EXPECT_TRUE(says("268435456 bytes; at most 4194304 are taken")) << words_;
  // A refusal is one, however long its text.
  EXPECT_EQ(error({{.times = 0,
                    .instead = "HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n",
                    .endless = block}},
                  [&] { remote().manifest(name("app:v1")); }),
            ErrorCode::kNotFound);
  EXPECT_EQ(proxy_->seen().size(), 1u);
  EXPECT_EQ(error({{.times = 0,
                    .instead = "HTTP/1.1 404 No\r\nContent-Length: 900\r\nConnection: close\r\n\r\ngone"}},
                  [&] { remote().manifest(name("app:v1")); }),
            ErrorCode::kNotFound);
  EXPECT_EQ(proxy_->seen().size(), 1u);
}

TEST_F(RemoteFaults, RegistriesWithoutHead) {
  const std::string manifest = push_image("app", "v1");
  proxy_->play({{.method = "HEAD", .times = 0, .instead = "HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n"}});
  EXPECT_EQ(remote().find(name("app:v1"))->digest, Digest::of(manifest));
  EXPECT_TRUE(remote().has_blob(name("app"), Digest::of("layer")));
  EXPECT_EQ(remote().push_blob(name("app"), outgoing("layer")), Placed::kThere);
}

TEST_F(RemoteFaults, WhyHeadIsRefusedIsSaid) {
  const std::string manifest = push_image("app", "v1");
  const Fault head = {
      .method = "HEAD", .times = 0, .instead = "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"};
  const std::string words = R"({"errors":[{"code":"DENIED","message":"nobody paid"}]})";
  const auto find = [&] { remote().find(name("app:v1")); };
  EXPECT_EQ(error({head, {.method = "GET", .times = 0, .instead = raw_answer("403 No", words)}}, find),
            ErrorCode::kPermission);
  EXPECT_TRUE(says("DENIED: nobody paid")) << words_;
  EXPECT_EQ(error({head, {.method = "GET", .times = 0, .instead = raw_answer("403 No", words)}},
                  [&] { remote().has_blob(name("app"), Digest::of("layer")); }),
            ErrorCode::kPermission);
  EXPECT_TRUE(says("DENIED: nobody paid")) << words_;
  // One that minds HEAD alone.
  proxy_->play({head});
  const auto found = remote().find(name("app:v1"));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->digest, Digest::of(manifest));
  EXPECT_EQ(found->size, manifest.size());
}

TEST_F(RemoteFaults, ControlCharactersOfARegistryAreNotShown) {
  const std::string text =
      raw_answer("400 Bad", R"({"errors":[{"code":"X","message":"\u001b]0;owned\u0007 \u009b31m"}]})");
  EXPECT_EQ(error({{.times = 0, .instead = text}}, [&] { remote().manifest(name("app:v1")); }),
            ErrorCode::kFailed);
  EXPECT_TRUE(says("owned")) << words_;
  EXPECT_EQ(printable(words_), words_);
  error({{.times = 0, .instead = raw_answer("400 \x1b[2J", "\x1b[31mred\x9b")}},
        [&] { remote().manifest(name("app:v1")); });
  EXPECT_EQ(printable(words_), words_);
  error({{.times = 0, .instead = raw_answer("302 Found", "", "Location: /\x1b[2J\r\n")}},
        [&] { remote().manifest(name("app:v1")); });
  EXPECT_EQ(printable(words_), words_);
  push_image("app", "v1");
  proxy_->play({{.edit = [](RawAnswer& answer) {
    set_field(answer, "Warning",
              "299 - \"\xc2\x9b"
              "31mold\"");
  }}});
  remote().manifest(name("app:v1"));
  ASSERT_EQ(puller_->warnings.size(), 1u);
  EXPECT_EQ(printable(puller_->warnings[0]), puller_->warnings[0]);
}

TEST_F(RemoteFaults, WhoWantsADayIsNotWaitedFor) {
  const std::string later = raw_answer("429 Slow", "", "Retry-After: 86400\r\n");
  const std::string bytes = pattern(kLarge);
  for (const auto& [method, action] : std::vector<std::pair<std::string, std::function<void()>>>{
           {"GET", [&] { remote().manifest(name("app:v1")); }},
           {"POST", [&] { remote().push_blob(name("app"), outgoing("x")); }},
           {"PUT", [&] { remote().push_blob(name("app"), outgoing("x")); }},
           {"PATCH", [&] { remote().push_blob(name("app"), outgoing(bytes)); }}}) {
    EXPECT_EQ(error({{.method = method, .times = 0, .instead = later}}, action), ErrorCode::kIo);
    EXPECT_TRUE(says("429 and wants ")) << words_;
    EXPECT_EQ(proxy_->seen(method).size(), 1u) << method;
  }
}

// --- Elsewhere ---

TEST_F(RemoteFaults, RedirectsGetNoCredentialsAndEnd) {
  const std::string bytes = pattern(300'000);
  const oci::Descriptor blob = stored(bytes);
  std::atomic<int> asked = 0;
  std::string heard;
  http::Server other([&](const std::string& request) {
    heard += request;
    if (asked++ == 0)
      return fmt::format("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{}", bytes.size(),
                         bytes.substr(0, 100'000));
    return fmt::format(
        "HTTP/1.1 206 Part\r\nContent-Range: bytes 100000-299999/300000\r\nContent-Length: "
        "200000\r\n\r\n{}",
        bytes.substr(100'000));
  });
  const std::string authority = fmt::format("127.0.0.1:{}", proxy_->port());
  Credentials credentials;
  credentials.add(authority, {.user = "ann", .password = "secret", .source = "a test"});
  Puller known(20'000, Hosts(), std::move(credentials));
  const Fault challenge{.from = 1,
                        .instead = raw_answer("401 Who", "", "WWW-Authenticate: Basic realm=\"x\"\r\n")};
  proxy_->play(
      {challenge,
       {.path = "/blobs/",
        .times = 0,
        .instead = raw_answer("307 There", "", fmt::format("Location: {}\r\n", other.url("/data")))}});
  EXPECT_TRUE(fetch(known.remote, blob) == bytes);
  EXPECT_EQ(proxy_->seen("GET", "/blobs/").back().field("Authorization"),
            "Basic " + base64_encode("ann:secret"));
  EXPECT_EQ(heard.find("Authorization"), std::string::npos) << heard;
  EXPECT_NE(heard.find("Range: bytes=100000-"), std::string::npos) << heard;

  EXPECT_EQ(error({{.times = 0, .instead = raw_answer("307 Round", "", "Location: /v2/app/blobs/again\r\n")}},
                  [&] { fetch(blob); }),
            ErrorCode::kFailed);
  EXPECT_TRUE(says("more than 10 redirects")) << words_;
  EXPECT_EQ(proxy_->seen().size(), 11u);
}

TEST_F(RemoteFaults, ARedirectWithACutBodyIsOne) {
  const oci::Descriptor blob = stored("some bytes");
  const std::string to = "Location: /v2/app/blobs/" + blob.digest.to_string() + "?really\r\n";
  proxy_->play(
      {{.path = "/blobs/",
        .instead = "HTTP/1.1 307 There\r\nConnection: close\r\nContent-Length: 99\r\n" + to + "\r\n<html>"}});
  EXPECT_EQ(fetch(blob), "some bytes");
  EXPECT_EQ(proxy_->seen().size(), 2u);
}

TEST_F(RemoteFaults, EndlessListsEnd) {
  push_image("app", "v1");
  const auto list = [&] { remote().tags(name("app")); };
  const std::string one = R"({"name":"app","tags":["v1"]})";
  EXPECT_EQ(
      error({{.times = 0,
              .instead = raw_answer("200 OK", one, "Link: </v2/app/tags/list?n=1000>; rel=\"next\"\r\n")}},
            list),
      ErrorCode::kFailed);
  EXPECT_LE(proxy_->seen().size(), 3u);
  // Another address each time, and nothing new.
  int page = 0;
  EXPECT_EQ(error({{.times = 0,
                    .edit =
                        [&](RawAnswer& answer) {
                          set_field(answer, "Link",
                                    fmt::format("</v2/app/tags/list?n=1000&last=a{}>; rel=\"next\"", page++));
                          answer.body = one;
                          set_field(answer, "Content-Length", std::to_string(one.size()));
                        }}},
                  list),
            ErrorCode::kFailed);
  EXPECT_LE(proxy_->seen().size(), 3u);
  // Ever new pages of 8 MiB.
  EXPECT_EQ(error({{.times = 0,
                    .edit =
                        [&](RawAnswer& answer) {
                          set_field(answer, "Link",
                                    fmt::format("</v2/app/tags/list?p={}>; rel=\"next\"", page++));
                          answer.body =
                              one + std::string(8 << 20, ' ') + std::string(static_cast<size_t>(page), ' ');
                          set_field(answer, "Content-Length", std::to_string(answer.body.size()));
                        }}},
                  list),
            ErrorCode::kFailed);
  EXPECT_LE(proxy_->seen().size(), 10u);
  // Ever longer addresses.
  std::vector<Fault> longer;
  for (size_t i = 0; i < 20; i++)
    longer.push_back({.instead = raw_answer("200 OK", one + std::string(i, ' '),
                                            "Link: <" + std::string(4000, 'x') + "/>; rel=\"next\"\r\n")});
  EXPECT_EQ(error(longer, list), ErrorCode::kFailed);
  EXPECT_LE(proxy_->seen().size(), 6u);
  proxy_->play({{.path = "/tags/", .cut = 3}, {.path = "/tags/", .instead = raw_answer("500 Oops")}});
  EXPECT_EQ(remote().tags(name("app")), std::vector<std::string>{"v1"});
}

// --- Pushes ---

TEST_F(RemoteFaults, APushThroughBadMoments) {
  const std::string busy = raw_answer("503 Busy", "later");
  int number = 0;
  for (const std::string method : {"HEAD", "POST", "PATCH", "PUT"}) {
    for (const Fault& kind : std::vector<Fault>{
             {.times = 2,
     .instead = method == "HEAD" ? "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n" : busy},
             {.takes = 0, .is_passed_on = false},
             {.takes = 1000, .is_passed_on = false},
             {.takes = 100'000},
             {.drops_answer = true},
             {.instead = raw_answer("429 Slow", "", "Retry-After: 0\r\nConnection: close\r\n")}}) {
      if (method == "HEAD" && !kind.instead.starts_with("HTTP/1.1 503") && !kind.instead.empty()) continue;
      for (const size_t size : {size_t{200'000}, kLarge}) {
        if ((method == "PATCH") != (size == kLarge)) continue;
        const std::string bytes = pattern(size) + std::to_string(number++);
        Fault fault = kind;
        fault.method = method;
        proxy_->play({fault});
        EXPECT_EQ(remote().push_blob(name("app"), outgoing(bytes)), Placed::kSent) << method << " " << number;
        EXPECT_TRUE(is_stored(bytes)) << method << " " << number;
        EXPECT_LE(proxy_->seen().size(), 10u) << method << " " << number;
      }
    }
  }
}

TEST_F(RemoteFaults, ACutUploadGoesOnWhereTheServerStands) {
  const std::string bytes = pattern(kLarge);
  proxy_->play({{.method = "PATCH", .takes = 3'000'000}});
  EXPECT_EQ(remote().push_blob(name("app"), outgoing(bytes)), Placed::kSent);
  EXPECT_TRUE(is_stored(bytes));
  EXPECT_EQ(proxy_->body_bytes(), bytes.size());  // nothing is sent twice
  EXPECT_EQ(proxy_->seen("POST").size(), 1u);
  const auto put = proxy_->seen("PUT");
  ASSERT_EQ(put.size(), 1u);
  EXPECT_EQ(put[0].body, bytes.size() - 3'000'000);
  // With more to go than one request takes: Content-Range.
  const std::string more = pattern(2 * kLarge);
  proxy_->play({{.method = "PATCH", .takes = 3'000'000}});
  EXPECT_EQ(remote().push_blob(name("app"), outgoing(more)), Placed::kSent);
  EXPECT_TRUE(is_stored(more));
  EXPECT_EQ(proxy_->body_bytes(), more.size());
  EXPECT_EQ(proxy_->seen("PATCH").at(1).field("Content-Range"), fmt::format("3000000-{}", more.size() - 1));
}

TEST_F(RemoteFaults, WhatWasDoneUnheardIsNotSentAgain) {
  const std::string bytes = pattern(kLarge);
  proxy_->play({{.method = "PATCH", .drops_answer = true}, {.method = "PUT", .drops_answer = true}});
  EXPECT_EQ(remote().push_blob(name("app"), outgoing(bytes)), Placed::kSent);
  EXPECT_EQ(proxy_->body_bytes(), bytes.size());
  const std::string manifest = manifest_text("{}", "layer");
  push_image("app", "v0");
  proxy_->play({{.method = "PUT", .drops_answer = true}, {.method = "PUT", .cut = 0}});
  remote().put_manifest(name("app:v1"), manifest, std::string(kManifestType));
  EXPECT_EQ(ask("GET", "/v2/app/manifests/v1").body, manifest);
}

TEST_F(RemoteFaults, AnUploadThatVanishesBeginsAnew) {
  const std::string bytes = pattern(kLarge);
  const std::string gone = raw_answer("404 Gone", R"({"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]})");
  proxy_->play(
      {{.method = "PATCH", .takes = 3'000'000}, {.method = "GET", .path = "/uploads/", .instead = gone}});
  EXPECT_EQ(remote().push_blob(name("app"), outgoing(bytes)), Placed::kSent);
  EXPECT_TRUE(is_stored(bytes));
  EXPECT_EQ(proxy_->seen("POST").size(), 2u);
  // For ever: an end, with the registry's words.
  EXPECT_EQ(error({{.method = "PATCH", .times = 0, .instead = gone}},
                  [&] { remote().push_blob(name("app"), outgoing(bytes + "2")); }),
            ErrorCode::kIo);
  EXPECT_TRUE(says("BLOB_UPLOAD_UNKNOWN")) << words_;
  EXPECT_LE(proxy_->seen("PATCH").size(), 4u);
}

TEST_F(RemoteFaults, AServerThatLosesBytesIsSentThemAgain) {
  const std::string bytes = pattern(kLarge);
  // It says 202, and holds less than it was sent.
  proxy_->play({{.method = "PATCH", .edit = [](RawAnswer& answer) { set_field(answer, "Range", "0-0"); }}});
  EXPECT_EQ(remote().push_blob(name("app"), outgoing(bytes)), Placed::kSent);
  EXPECT_TRUE(is_stored(bytes));
  // It goes back again and again.
  const auto lose = [](RawAnswer& answer) {
    answer.status = 202;
    answer.body.clear();
    set_field(answer, "Content-Length", "0");
    set_field(answer, "Range", "0-0");
  };
  EXPECT_EQ(error({{.path = "/uploads/?", .times = 0},
                   {.method = "PATCH", .path = "/uploads/", .times = 0, .edit = lose}},
                  [&] { remote().push_blob(name("app"), outgoing(bytes + "2")); }),
            ErrorCode::kIo);
  EXPECT_TRUE(says("loses what it is sent")) << words_;
  EXPECT_LE(proxy_->seen("PATCH").size(), 5u);
  // It takes a byte a time.
  int held = 0;
  EXPECT_EQ(
      error({{.method = "PATCH", .times = 0, .instead = raw_answer("500 Oops", "", "Connection: close\r\n")},
             {.method = "GET",
              .path = "/uploads/",
              .times = 0,
              .edit =
                  [&](RawAnswer& answer) {
                    answer.status = 204;
                    set_field(answer, "Range", fmt::format("0-{}", ++held));
                  }}},
            [&] { remote().push_blob(name("app"), outgoing(bytes + "3")); }),
      ErrorCode::kIo);
  EXPECT_LE(proxy_->seen("PATCH").size(), 5u);
}

TEST_F(RemoteFaults, ARegistryThatKeepsFailingIsGivenUpWithItsWords) {
  const std::string bytes = pattern(kLarge);
  for (const std::string method : {"POST", "PATCH", "PUT"}) {
    EXPECT_EQ(error({{.method = method, .times = 0, .instead = raw_answer("500 Oops", "disk is on fire")}},
                    [&] { remote().push_blob(name("app"), outgoing(bytes)); }),
              ErrorCode::kIo);
    EXPECT_TRUE(says("disk is on fire")) << words_;
    EXPECT_LE(proxy_->seen(method).size(), 5u) << method;
    EXPECT_LE(proxy_->body_bytes(), 5 * bytes.size());
  }
  EXPECT_EQ(error({{.method = "PUT", .times = 0, .instead = raw_answer("429 Slow", "too many")}},
                  [&] { remote().push_blob(name("app"), outgoing("small")); }),
            ErrorCode::kIo);
  EXPECT_TRUE(says("429: too many")) << words_;
}

TEST_F(RemoteFaults, AStalledUploadGoesOn) {
  settle(puller_, 1500);  // the server syncs meanwhile
  const std::string bytes = pattern(kLarge);
  proxy_->play({{.method = "PATCH", .takes = 3'000'000, .stalls = true},
                {.method = "PUT", .drops_answer = true, .stalls = true}});
  EXPECT_EQ(remote().push_blob(name("app"), outgoing(bytes)), Placed::kSent);
  EXPECT_TRUE(is_stored(bytes));
  EXPECT_EQ(proxy_->seen("PUT").at(0).body, bytes.size() - 3'000'000);
}

TEST_F(RemoteFaults, LargePiecesMakeRoomForSmallerOnes) {
  const std::string large = raw_answer("413 Too Large", "<html>nginx", "Connection: close\r\n");
  const std::string bytes = pattern(kLarge);
  proxy_->play({{.method = "PATCH", .instead = large}});
  EXPECT_EQ(remote().push_blob(name("app"), outgoing(bytes)), Placed::kSent);
  EXPECT_TRUE(is_stored(bytes));
  const auto pieces = proxy_->seen("PATCH");
  ASSERT_EQ(pieces.size(), 7u);
  EXPECT_EQ(pieces[0].body, bytes.size());
  EXPECT_EQ(pieces[1].field("Content-Range"), "0-921599");
  EXPECT_EQ(pieces[2].field("Content-Range"), "921600-1843199");
  const std::string small = pattern(2'000'000);
  proxy_->play({{.method = "PUT", .instead = large}});
  EXPECT_EQ(remote().push_blob(name("app"), outgoing(small)), Placed::kSent);
  EXPECT_TRUE(is_stored(small));
  EXPECT_EQ(proxy_->seen("PATCH").at(0).field("Content-Range"), "0-921599");
  EXPECT_EQ(error({{.method = "PATCH", .times = 0, .instead = large},
                   {.method = "PUT", .times = 0, .instead = large}},
                  [&] { remote().push_blob(name("app"), outgoing(bytes + "2")); }),
            ErrorCode::kNoSpace);
  EXPECT_EQ(proxy_->seen("PATCH").size(), 2u);
}

TEST_F(RemoteFaults, BytesThatAreWrongAreRefusedAfterTwoTries) {
  OutgoingBlob blob = outgoing(pattern(200'000));
  blob.descriptor.digest = Digest::of("something else");
  EXPECT_EQ(error({}, [&] { remote().push_blob(name("app"), blob); }), ErrorCode::kFailed);
  EXPECT_TRUE(says("DIGEST_INVALID")) << words_;
  EXPECT_EQ(proxy_->seen("PUT").size(), 2u);
  // A byte that flips on the way: the second time is right.
  const std::string bytes = pattern(100'000);
  proxy_->play(
      {{.method = "PUT", .instead = raw_answer("400 Bad", R"({"errors":[{"code":"DIGEST_INVALID"}]})")}});
  EXPECT_EQ(remote().push_blob(name("app"), outgoing(bytes)), Placed::kSent);
  EXPECT_TRUE(is_stored(bytes));
}

TEST_F(RemoteFaults, LyingAnswersToAPush) {
  push_image("app", "v0");
  const std::string manifest = manifest_text("{}", "layer");
  const auto put = [&] { remote().put_manifest(name("app:v1"), manifest, std::string(kManifestType)); };
  EXPECT_EQ(error({{.method = "PUT",
                    .edit =
                        [](RawAnswer& answer) {
                          set_field(answer, "Docker-Content-Digest", sha256_text("another"));
                        }}},
                  put),
            ErrorCode::kCorrupt);
  EXPECT_EQ(error({{.method = "POST", .edit = [](RawAnswer& answer) { set_field(answer, "Location", ""); }}},
                  [&] { remote().push_blob(name("app"), outgoing("new")); }),
            ErrorCode::kFailed);
  EXPECT_TRUE(says("without saying where")) << words_;
  EXPECT_EQ(error({{.method = "PUT", .times = 0, .instead = raw_answer("413 Large", "no")}}, put),
            ErrorCode::kNoSpace);
}

}  // namespace
}  // namespace corten::registry
