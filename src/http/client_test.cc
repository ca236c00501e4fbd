#include "http/client.h"

#include <sys/socket.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "base/error.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "http/name_resolver.h"
#include "http/server_test.h"

namespace corten::http {
namespace {

TEST(HttpClient, ConnectionsAreUsedAgain) {
  Server server(
      [](const std::string& request) { return answer("200 OK", request.substr(0, request.find('\r'))); });
  Client client(quick());
  EXPECT_EQ(client.get(server.url("/a?b"), 100), "GET /a?b HTTP/1.1");
  EXPECT_EQ(client.get(server.url("/c"), 100), "GET /c HTTP/1.1");
  EXPECT_EQ(server.connections(), 1);
}

TEST(HttpClient, ChunkedAndUntilTheEnd) {
  int count = 0;
  Server server([&](const std::string&) {
    if (count++ == 0)
      return std::string(
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
          "chunked\r\n\r\n3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n");
    return std::string("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall the rest");
  });
  Client client(quick());
  EXPECT_EQ(client.get(server.url(), 100), "abc0123456789abcdef");
  EXPECT_EQ(client.get(server.url(), 100), "all the rest");
}

TEST(HttpClient, RedirectsAreBoundedAndStayOnTheNet) {
  Server server([](const std::string& request) {
    if (request.starts_with("GET /one ")) return answer("302 Found", "", "Location: /two\r\n");
    if (request.starts_with("GET /two ")) return answer("200 OK", "here");
    if (request.starts_with("GET /file ")) return answer("302 Found", "", "Location: file:///etc/passwd\r\n");
    if (request.starts_with("GET /none ")) return answer("302 Found", "");
    return answer("302 Found", "x", "Location: /loop\r\n");
  });
  Client client(quick());
  Response response = client.open(server.url("/one"));
  EXPECT_EQ(response.url, server.url("/two"));
  EXPECT_EQ(archive::read_rest(*response.body, 100), "here");
  EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(code_of([&] { client.open(server.url("/loop")); }), ErrorCode::kFailed);
  EXPECT_EQ(code_of([&] { client.open(server.url("/none")); }), ErrorCode::kFailed);
  EXPECT_EQ(code_of([&] { client.open(server.url("/file")); }), ErrorCode::kPermission);
}

TEST(HttpClient, WhatMayPassIsTriedAgain) {
  int count = 0;
  Server server([&](const std::string&) {
    switch (count++) {
      case 0:
        return answer("503 Busy", "");
      case 1:
        return std::string();  // closed without an answer
      case 2:
        return std::string("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nshort");
      default:
        return answer("200 OK", "whole");
    }
  });
  Client client(quick());
  EXPECT_EQ(client.get(server.url(), 100), "whole");
  EXPECT_EQ(count, 4);
}

TEST(HttpClient, ASinkIsNotGivenBytesTwice) {
  int count = 0;
  Server server([&](const std::string&) {
    count++;
    return std::string("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nshort");
  });
  Client client(quick());
  archive::StringSink sink;
  EXPECT_EQ(code_of([&] { client.get(server.url(), sink, 100); }), ErrorCode::kFailed);
  EXPECT_EQ(sink.bytes(), "short");
  EXPECT_EQ(count, 1);
}

TEST(HttpClient, Refusals) {
  Server server([](const std::string& request) {
    if (request.starts_with("GET /missing")) return answer("404 Not Found", "no");
    if (request.starts_with("GET /secret")) return answer("403 Forbidden", "no");
    if (request.starts_with("GET /garbage")) return std::string("this is not HTTP\r\n\r\n");
    if (request.starts_with("GET /long"))
      return "HTTP/1.1 200 OK\r\nX: " + std::string(200'000, 'x') + "\r\n\r\n";
    return answer("200 OK", std::string(1000, 'x'));
  });
  Client client(quick());
  std::string words;
  EXPECT_EQ(code_of([&] { client.open(server.url("/missing")); }, &words), ErrorCode::kNotFound);
  EXPECT_EQ(words, server.url("/missing") + ": invalid response status 404 Not Found");
  EXPECT_EQ(code_of([&] { client.open(server.url("/secret")); }), ErrorCode::kPermission);
  EXPECT_EQ(code_of([&] { client.open(server.url("/garbage")); }), ErrorCode::kFailed);
  EXPECT_EQ(code_of([&] { client.open(server.url("/long")); }), ErrorCode::kFailed);
  EXPECT_EQ(code_of([&] { client.get(server.url("/big"), 999); }), ErrorCode::kInvalid);
  archive::StringSink sink;
  EXPECT_EQ(code_of([&] { client.get(server.url("/big"), sink, 999); }), ErrorCode::kInvalid);
}

TEST(HttpClient, ASilentServerIsLeft) {
  Server server(
      [](const std::string&) { return std::string("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"); });
  ClientOptions options = quick();
  options.timeouts.silence_ms = 50;
  options.attempts = 1;
  Client client(options);
  std::string words;
  EXPECT_EQ(code_of([&] { client.get(server.url(), 100); }, &words), ErrorCode::kIo);
  EXPECT_NE(words.find("silent"), std::string::npos) << words;
}

TEST(HttpClient, ProxiesGetTheWholeAddress) {
  Server proxy([](const std::string& request) {
    if (request.starts_with("CONNECT")) return answer("502 No", "");
    return answer("200 OK",
                  request.substr(0, request.find('\r')) +
                      (request.find("Proxy-Authorization: Basic dTpw") != std::string::npos ? " auth" : ""));
  });
  ClientOptions options = quick();
  options.proxies = {
      .http = fmt::format("http://u:p@127.0.0.1:{}", proxy.port()), .https = proxy.url(), .none = ""};
  options.attempts = 1;
  Client client(options);
  EXPECT_EQ(client.get("http://archive.invalid/x", 200), "GET http://archive.invalid/x HTTP/1.1 auth");
  std::string words;
  EXPECT_EQ(code_of([&] { client.open("https://archive.invalid/x"); }, &words), ErrorCode::kIo);
  EXPECT_NE(words.find("archive.invalid:443"), std::string::npos) << words;
}

TEST(HttpClient, NoProxyRules) {
  Proxies proxies{.http = "proxy:3128", .https = "", .none = "localhost, .example.org,10.0.0.1:8080"};
  auto proxy = [&](const char* url) { return proxies.proxy_for(parse_url(url)); };
  EXPECT_EQ(proxy("http://other/"), "http://proxy:3128");
  EXPECT_EQ(proxy("https://other/"), "");
  EXPECT_EQ(proxy("http://localhost:5000/"), "");
  EXPECT_EQ(proxy("http://example.org/"), "");
  EXPECT_EQ(proxy("http://a.example.org/"), "");
  EXPECT_NE(proxy("http://badexample.org/"), "");
  EXPECT_EQ(proxy("http://10.0.0.1:8080/"), "");
  EXPECT_NE(proxy("http://10.0.0.1/"), "");
  proxies.none = "10.1.0.0/16,fd00::/8,[::1],::2";
  EXPECT_EQ(proxy("http://10.1.255.1:5000/"), "");
  EXPECT_NE(proxy("http://10.2.0.1/"), "");
  EXPECT_EQ(proxy("http://[fd12::1]/"), "");
  EXPECT_EQ(proxy("http://[::1]:80/"), "");
  EXPECT_EQ(proxy("http://[::2]/"), "");
  EXPECT_NE(proxy("http://[::3]/"), "");
  proxies.none = "*";
  EXPECT_EQ(proxy("http://other/"), "");
}

TEST(HttpClient, FilesOfThisMachine) {
  TempDir place = TempDir::for_test();
  write_file_atomic(place / "a b", "content");
  Client client(quick());
  EXPECT_EQ(client.get("file://" + place.path() + "/a%20b", 100), "content");
  EXPECT_EQ(client.open("copy:" + place.path() + "/a%20b").size, 7u);
  EXPECT_EQ(code_of([&] { client.open("file://" + place.path() + "/none"); }), ErrorCode::kNotFound);
  EXPECT_EQ(code_of([&] { client.open("file:///dev/zero"); }), ErrorCode::kInvalid);
}

TEST(HttpClient, TlsRefusesWhoIsNoTlsServer) {
  Server server([](const std::string&) { return std::string("HTTP/1.1 200 OK\r\n\r\n"); });
  ClientOptions options = quick();
  options.attempts = 1;
  options.timeouts.silence_ms = 200;
  Client client(options);
  EXPECT_EQ(code_of([&] { client.open(fmt::format("https://127.0.0.1:{}/", server.port())); }),
            ErrorCode::kIo);
}

TEST(HttpClient, ConditionsAndFields) {
  Server server([](const std::string& request) -> std::string {
    if (request.find("If-None-Match: \"1\"") != std::string::npos)
      return "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n";
    return answer("200 OK", "body", "ETag: \"1\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
  });
  Client client(quick());
  Response first = client.open(server.url("/x"));
  EXPECT_EQ(first.status, 200u);
  EXPECT_EQ(first.last_modified, "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(client.open(Request{server.url("/x"), {{"If-None-Match", "\"1\""}}, true}).status, 304u);
  EXPECT_EQ(code_of([&] {
              client.open(Request{server.url("/x"), {{"If-None-Match", "\"1\""}}, false});
            }),
            ErrorCode::kFailed);
  EXPECT_EQ(code_of([&] {
              client.open(Request{server.url("/x"), {{"X", "a\r\nY: b"}}, false});
            }),
            ErrorCode::kInvalid);
}

TEST(HttpClient, AuthorizationStaysWithItsHost) {
  Server other([](const std::string& request) {
    return answer("200 OK", request.find("Authorization") == std::string::npos ? "clean" : "leaked");
  });
  Server server([&](const std::string& request) {
    if (request.find("Authorization: Bearer x") == std::string::npos) return answer("401 No", "");
    return answer("302 Found", "", "Location: " + other.url("/y") + "\r\n");
  });
  Client client(quick());
  Response response = client.open(Request{server.url("/x"), {{"Authorization", "Bearer x"}}, false});
  EXPECT_EQ(archive::read_rest(*response.body, 100), "clean");
}

TEST(HttpClient, SlowBodiesAndHeadersEnd) {
  // Three bytes at a time, for ever.
  Server server([](const std::string&) { return std::string(); },
                [](int peer, const std::string& request) {
                  std::string head =
                      request.starts_with("GET /head") ? "HTTP/1.1 200 OK\r\nX: " : "HTTP/1.1 200 OK\r\n\r\n";
                  send(peer, head.data(), head.size(), MSG_NOSIGNAL);
                  while (send(peer, "abc", 3, MSG_NOSIGNAL) == 3) usleep(30'000);
                });
  ClientOptions options = quick();
  options.timeouts.silence_ms = 500;
  options.slowest_bytes_per_s = 10'000;
  options.attempts = 1;
  Client client(options);
  std::string words;
  EXPECT_EQ(code_of([&] { client.get(server.url("/body"), 1 << 20); }, &words), ErrorCode::kIo);
  EXPECT_NE(words.find("too slow"), std::string::npos) << words;
  EXPECT_EQ(code_of([&] { client.get(server.url("/head"), 1 << 20); }, &words), ErrorCode::kIo);
  EXPECT_NE(words.find("header does not end"), std::string::npos) << words;
}

// A server that begins a chunk, a byte now and then, and never comes to what is in it.
class Dripping : public Connection {
 public:
  size_t read(void* data, size_t) override {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    *static_cast<char*>(data) = at_ < kHead.size() ? kHead[at_] : 'x';
    at_++;
    return 1;
  }
  void write(std::string_view) override {}

 private:
  static constexpr std::string_view kHead =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;extension=";
  size_t at_ = 0;
};

// What stands between chunks is no body, but may come for ever as well.
TEST(HttpClient, GivesUpOnChunksWithoutBytes) {
  ClientOptions options{.proxies = {}};
  options.timeouts.silence_ms = 1000;
  options.connector = [](const std::string&, uint16_t) { return std::make_unique<Dripping>(); };
  Client client(options);
  Response response = client.open("http://host/");
  char buffer[64];
  std::string words;
  EXPECT_EQ(code_of([&] { response.body->read(buffer, sizeof buffer); }, &words), ErrorCode::kIo);
  EXPECT_NE(words.find("frame of a chunk does not end"), std::string::npos) << words;
}

// There is no time to ask anybody.
TEST(NameResolver, NumbersAreNotAskedFor) {
  for (const char* host : {"127.0.0.1", "::1"}) {
    auto addresses = resolve_host(host, 80, 0);
    ASSERT_EQ(addresses.size(), 1u) << host;
    EXPECT_EQ(addresses[0].value.ss_family, std::string(host) == "::1" ? AF_INET6 : AF_INET);
  }
}

}  // namespace
}  // namespace corten::http
