// A server for tests: one canned answer a request, on the loopback.
#pragma once
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "http/client.h"

namespace corten::http {

// A server on the loopback that gives one canned answer to each request: the handler gets the request's
// header, and behind it the body when a Content-Length tells of one.
class Server {
 public:
  using Handler = std::function<std::string(const std::string& request)>;
  // Speaks with the peer itself once the request has been read.
  using Speaker = std::function<void(int peer, const std::string& request)>;
  explicit Server(Handler handler, Speaker speaker = {})
      : handler_(std::move(handler)),
        speaker_(std::move(speaker)),
        listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
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
      const size_t header = request.find("\r\n\r\n");
      if (header == std::string::npos) continue;
      if (speaker_) return speaker_(peer, request);
      if (request.size() - header - 4 < body_size(request.substr(0, header + 4))) continue;
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
  static size_t body_size(const std::string& header) {
    const size_t at = header.find("\r\nContent-Length: ");
    return at == std::string::npos ? 0 : std::stoul(header.substr(at + 18));
  }
  std::mutex mutex_;
  Handler handler_;
  Speaker speaker_;
  UniqueFd listener_;
  Pipe end_ = make_pipe();
  uint16_t port_ = 0;
  std::atomic<int> connections_ = 0;
  std::thread thread_;
};

inline std::string answer(std::string_view status, std::string_view body, std::string_view more = "") {
  return fmt::format("HTTP/1.1 {}\r\nContent-Length: {}\r\n{}\r\n{}", status, body.size(), more, body);
}

inline ClientOptions quick() {
  return {.proxies = {}, .timeouts = {2000, 2000}, .first_pause_ms = 1};
}

inline ErrorCode code_of(const std::function<void()>& action, std::string* words = nullptr) {
  try {
    action();
  } catch (const Error& error) {
    if (words) *words = error.what();
    return error.code();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorCode::kInternal;
}

}  // namespace corten::http
