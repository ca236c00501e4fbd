// For tests: a proxy in this process between a client and the embedded server, which misbehaves by rules.
//
// Each request is read, noted, and compared with the rules in their order; the first that is for it decides
// what happens: what goes on to the server, and what comes back. Without one both go through as they are.
// Every request has a connection of its own to the server, which is waited for until the server has ended it.
#pragma once
#include <poll.h>

#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "registry/server/raw_client_test.h"

namespace corten::registry {

inline constexpr size_t kNoLimit = SIZE_MAX;

// What came.
struct SeenRequest {
  std::string method, target, head;
  size_t body = 0;  // bytes of it that came
  std::string field(const std::string& name) const {
    for (const std::string& line : split(head, '\n'))
      if (line.size() > name.size() && line[name.size()] == ':' &&
          iequals(std::string_view(line).substr(0, name.size()), name))
        return std::string(trim(std::string_view(line).substr(name.size() + 1)));
    return {};
  }
};

struct Fault {
  std::string method, path;                      // "" is any; a part of the target
  int from = 1, times = 1;                       // which of those that match; times 0: all that follow
  std::function<bool(const SeenRequest&)> when;  // and this; its calls never meet
  // The request.
  size_t takes = kNoLimit;    // so much of its body, and the connection is dropped
  bool is_passed_on = true;   // what was taken goes to the server
  bool drops_answer = false;  // the server has done it, and nobody hears of it
  // The answer.
  std::string instead;                            // all of it, raw, and the end of the connection
  std::string endless;                            // comes again and again behind it
  std::function<void(serving::RawAnswer&)> edit;  // what the server said
  size_t cut = kNoLimit;                          // so much of its body, then the end
  bool stalls = false;                            // then silence instead of the end
};

inline std::string raw_answer(std::string_view status, std::string_view body = "",
                              std::string_view fields = "") {
  return fmt::format("HTTP/1.1 {}\r\nContent-Length: {}\r\n{}\r\n{}", status, body.size(), fields, body);
}

inline void set_field(serving::RawAnswer& answer, const std::string& name, const std::string& value) {
  std::erase_if(answer.fields, [&](const auto& field) { return iequals(field.first, name); });
  if (!value.empty()) answer.fields.emplace_back(name, value);
}

class FaultProxy {
 public:
  using Seen = SeenRequest;

  explicit FaultProxy(uint16_t server) : server_(server), listener_(new_socket()) {
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        listen(listener_.get(), 64) != 0 ||
        getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
      fail_errno("fault proxy");
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~FaultProxy() {
    end_.write.reset();
    thread_.join();
  }
  uint16_t port() const { return port_; }

  // Forgets all rules and requests before.
  void play(std::vector<Fault> faults) {
    std::lock_guard lock(mutex_);
    faults_ = std::move(faults);
    matches_.assign(faults_.size(), 0);
    seen_.clear();
  }
  std::vector<Seen> seen(std::string_view method = "", std::string_view path = "") const {
    std::lock_guard lock(mutex_);
    std::vector<Seen> found;
    for (const Seen& one : seen_)
      if ((method.empty() || one.method == method) && one.target.find(path) != std::string::npos)
        found.push_back(one);
    return found;
  }
  size_t body_bytes() const {
    size_t sum = 0;
    for (const Seen& one : seen()) sum += one.body;
    return sum;
  }

 private:
  static UniqueFd new_socket() { return UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); }
  static sockaddr_in loopback(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
  }
  bool wait(int fd) const {
    pollfd fds[] = {{fd, POLLIN, 0}, {end_.read.get(), POLLIN, 0}};
    return poll(fds, 2, 20'000) > 0 && fds[1].revents == 0;
  }
  bool receive(int fd, std::string& into) const {
    char buffer[65536];
    const ssize_t n = wait(fd) ? recv(fd, buffer, sizeof buffer, 0) : -1;
    if (n > 0) into.append(buffer, static_cast<size_t>(n));
    return n > 0;
  }
  static bool send_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  void serve() {
    std::vector<std::thread> threads;
    while (wait(listener_.get())) {
      UniqueFd peer(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      threads.emplace_back([this, fd = std::move(peer)] {
        std::string bytes;
        while (converse(fd.get(), bytes)) {
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  // The first fault that is for it, counted.
  std::optional<Fault> fault_for(const Seen& request) {
    std::lock_guard lock(mutex_);
    std::optional<Fault> found;
    for (size_t i = 0; i < faults_.size() && !found; i++) {
      const Fault& fault = faults_[i];
      if (!fault.method.empty() && fault.method != request.method) continue;
      if (request.target.find(fault.path) == std::string::npos) continue;
      if (fault.when && !fault.when(request)) continue;
      const int number = ++matches_[i];
      if (number >= fault.from && (fault.times == 0 || number < fault.from + fault.times)) found = fault;
    }
    return found;
  }

  // One request; false when the connection is to end.
  bool converse(int peer, std::string& bytes) {
    size_t end;
    while ((end = bytes.find("\r\n\r\n")) == std::string::npos)
      if (!receive(peer, bytes)) return false;
    Seen request;
    request.head = bytes.substr(0, end + 2);
    bytes.erase(0, end + 4);
    const std::vector<std::string> words = split_words(request.head.substr(0, request.head.find('\r')));
    if (words.size() != 3) return false;
    request.method = words[0];
    request.target = words[1];
    const Fault fault = fault_for(request).value_or(Fault());
    const auto told = static_cast<size_t>(parse_int(request.field("Content-Length")).value_or(0));
    const size_t wanted = std::min(told, fault.takes);
    while (bytes.size() < wanted && receive(peer, bytes)) {
    }
    std::string body = bytes.substr(0, std::min(bytes.size(), wanted));
    bytes.erase(0, body.size());
    request.body = body.size();
    {
      std::lock_guard lock(mutex_);
      seen_.push_back(request);
    }
    if (!fault.instead.empty()) {
      if (send_all(peer, fault.instead))
        while (!fault.endless.empty() && send_all(peer, fault.endless)) {
        }
      return fault.endless.empty() && fault.instead.find("Connection: close") == std::string::npos;
    }
    const serving::RawAnswer answer = fault.is_passed_on ? ask_server(request, body) : serving::RawAnswer();
    if (fault.takes != kNoLimit || fault.drops_answer || answer.status == 0) {
      while (fault.stalls && receive(peer, bytes)) bytes.clear();
      return false;
    }
    return give(peer, fault, answer, request.method == "HEAD");
  }

  serving::RawAnswer ask_server(const Seen& request, const std::string& body) const {
    serving::RawClient server(server_);
    server.send(request.head + "Connection: close\r\n\r\n" + body);
    const auto told = static_cast<size_t>(parse_int(request.field("Content-Length")).value_or(0));
    if (body.size() < told) server.end_sending();
    serving::RawAnswer answer = server.receive(request.method == "HEAD");
    server.is_ended();
    return answer;
  }

  bool give(int peer, const Fault& fault, serving::RawAnswer answer, bool is_head) const {
    set_field(answer, "Connection", "");
    if (fault.edit) fault.edit(answer);
    std::string text = fmt::format("HTTP/1.1 {} Said\r\n", answer.status);
    for (const auto& [name, value] : answer.fields) text += name + ": " + value + "\r\n";
    text += "\r\n";
    if (!is_head) text += answer.body.substr(0, fault.cut);
    if (!send_all(peer, text)) return false;
    std::string ignored;
    while (fault.stalls && receive(peer, ignored)) {
    }
    const bool is_whole = fault.cut >= answer.body.size() && !fault.stalls;
    return is_whole &&
           (is_head ||
            answer.body.size() == static_cast<size_t>(parse_int(answer.field("Content-Length")).value_or(0)));
  }

  uint16_t server_, port_ = 0;
  UniqueFd listener_;
  Pipe end_ = make_pipe();
  mutable std::mutex mutex_;
  std::vector<Fault> faults_;
  std::vector<int> matches_;
  std::vector<Seen> seen_;
  std::thread thread_;
};

}  // namespace corten::registry
