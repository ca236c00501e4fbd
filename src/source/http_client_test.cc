#include "source/http_client.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include <gtest/gtest.h>

#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"

namespace corten::source {
namespace {

// A server on the loopback that gives one canned answer to each request: the handler gets the request's
// header.
class Server {
 public:
  using Handler = std::function<std::string(const std::string& request)>;
  explicit Server(Handler handler)
      : handler_(std::move(handler)), listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        listen(listener_.get(), 8) != 0 ||
        getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
      fail_errno("test server");
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~Server() {
    end_.write.reset();
    thread_.join();
  }
  std::string url(std::string_view path = "/") const {
    return fmt::format("http://127.0.0.1:{}{}", port_, path);
  }
  int connections() const { return connections_; }
  uint16_t port() const { return port_; }

 private:
  bool wait(int fd) {
    pollfd fds[] = {{fd, POLLIN, 0}, {end_.read.get(), POLLIN, 0}};
    return poll(fds, 2, 20'000) > 0 && fds[1].revents == 0;
  }
  void serve() {
    std::vector<std::thread> threads;
    while (wait(listener_.get())) {
      UniqueFd peer(accept(listener_.get(), nullptr, nullptr));
      connections_++;
      threads.emplace_back([this, fd = std::move(peer)] { converse(fd.get()); });
    }
    for (std::thread& thread : threads) thread.join();
  }
  void converse(int peer) {
    std::string request;
    char buffer[4096];
    while (wait(peer)) {
      ssize_t n = recv(peer, buffer, sizeof buffer, 0);
      if (n <= 0) return;
      request.append(buffer, static_cast<size_t>(n));
      if (!request.ends_with("\r\n\r\n")) continue;
      std::string answer;
      {
        std::lock_guard lock(mutex_);
        answer = handler_(request);
      }
      send(peer, answer.data(), answer.size(), MSG_NOSIGNAL);
      if (answer.empty() || answer.find("Connection: close") != std::string::npos) return;
      request.clear();
    }
  }
  std::mutex mutex_;
  Handler handler_;
  UniqueFd listener_;
  Pipe end_ = make_pipe();
  uint16_t port_ = 0;
  std::atomic<int> connections_ = 0;
  std::thread thread_;
};

std::string answer(std::string_view status, std::string_view body, std::string_view more = "") {
  return fmt::format("HTTP/1.1 {}\r\nContent-Length: {}\r\n{}\r\n{}", status, body.size(), more, body);
}

HttpOptions quick() {
  return {.proxies = {}, .timeouts = {2000, 2000}, .first_pause_ms = 1};
}

ErrorCode code_of(const std::function<void()>& action, std::string* words = nullptr) {
  try {
    action();
  } catch (const Error& error) {
    if (words) *words = error.what();
    return error.code();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorCode::kInternal;
}

TEST(HttpClient, ConnectionsAreUsedAgain) {
  Server server(
      [](const std::string& request) { return answer("200 OK", request.substr(0, request.find('\r'))); });
  HttpClient client(quick());
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
  HttpClient client(quick());
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
  HttpClient client(quick());
  HttpResponse response = client.open(server.url("/one"));
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
  HttpClient client(quick());
  EXPECT_EQ(client.get(server.url(), 100), "whole");
  EXPECT_EQ(count, 4);
}

TEST(HttpClient, ASinkIsNotGivenBytesTwice) {
  int count = 0;
  Server server([&](const std::string&) {
    count++;
    return std::string("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nshort");
  });
  HttpClient client(quick());
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
  HttpClient client(quick());
  std::string words;
  EXPECT_EQ(code_of([&] { client.open(server.url("/missing")); }, &words), ErrorCode::kNotFound);
  EXPECT_EQ(words, server.url("/missing") + ": 404 Not Found");
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
  HttpOptions options = quick();
  options.timeouts.silence_ms = 50;
  options.attempts = 1;
  HttpClient client(options);
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
  HttpOptions options = quick();
  options.proxies = {
      .http = fmt::format("http://u:p@127.0.0.1:{}", proxy.port()), .https = proxy.url(), .none = ""};
  options.attempts = 1;
  HttpClient client(options);
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
  proxies.none = "*";
  EXPECT_EQ(proxy("http://other/"), "");
}

TEST(HttpClient, FilesOfThisMachine) {
  TempDir place = TempDir::for_test();
  write_file_atomic(place / "a b", "content");
  HttpClient client(quick());
  EXPECT_EQ(client.get("file://" + place.path() + "/a%20b", 100), "content");
  EXPECT_EQ(client.open("copy:" + place.path() + "/a%20b").size, 7u);
  EXPECT_EQ(code_of([&] { client.open("file://" + place.path() + "/none"); }), ErrorCode::kNotFound);
  EXPECT_EQ(code_of([&] { client.open("file:///dev/zero"); }), ErrorCode::kInvalid);
}

TEST(HttpClient, TlsRefusesWhoIsNoTlsServer) {
  Server server([](const std::string&) { return std::string("HTTP/1.1 200 OK\r\n\r\n"); });
  HttpOptions options = quick();
  options.attempts = 1;
  options.timeouts.silence_ms = 200;
  HttpClient client(options);
  EXPECT_EQ(code_of([&] { client.open(fmt::format("https://127.0.0.1:{}/", server.port())); }),
            ErrorCode::kIo);
}

}  // namespace
}  // namespace corten::source
