#include "http/name_resolver.h"

#include <ares.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>

#include <cstring>
#include <mutex>
#include <optional>

#include "base/clock.h"
#include "base/error.h"

namespace corten::http {

namespace {

struct Answer {
  bool is_done = false;
  int status = ARES_SUCCESS;
  std::vector<Address> addresses;
};

void take_answer(void* user, int status, int, ares_addrinfo* result) {
  auto& answer = *static_cast<Answer*>(user);
  answer.is_done = true;
  answer.status = status;
  for (ares_addrinfo_node* node = result ? result->nodes : nullptr; node; node = node->ai_next) {
    Address address;
    if (node->ai_addrlen > sizeof address.value) continue;
    memcpy(&address.value, node->ai_addr, node->ai_addrlen);
    address.size = node->ai_addrlen;
    answer.addresses.push_back(address);
  }
  if (result) ares_freeaddrinfo(result);
}

class Channel {
 public:
  Channel() {
    static const int initialised = ares_library_init(ARES_LIB_INIT_ALL);
    if (initialised != ARES_SUCCESS || ares_init(&channel_) != ARES_SUCCESS)
      fail(ErrorCode::kIo, "name resolution: {}", "cannot be set up");
  }
  ~Channel() { ares_destroy(channel_); }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  ares_channel get() const { return channel_; }

  // Handles what has come in, waiting at most 200 ms for it.
  void process() {
    ares_socket_t sockets[ARES_GETSOCK_MAXNUM];
    int wanted = ares_getsock(channel_, sockets, ARES_GETSOCK_MAXNUM);
    std::vector<pollfd> fds;
    for (int i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
      short events = static_cast<short>((ARES_GETSOCK_READABLE(wanted, i) ? POLLIN : 0) |
                                        (ARES_GETSOCK_WRITABLE(wanted, i) ? POLLOUT : 0));
      if (events) fds.push_back({sockets[i], events, 0});
    }
    if (poll(fds.data(), fds.size(), 200) < 0 && errno != EINTR) fail_errno("name resolution");
    for (const pollfd& fd : fds)
      ares_process_fd(channel_, fd.revents & ~POLLOUT ? fd.fd : ARES_SOCKET_BAD,
                      fd.revents & POLLOUT ? fd.fd : ARES_SOCKET_BAD);
    ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);  // time-outs
  }

 private:
  ares_channel channel_ = nullptr;
};

// c-ares asks name servers for addresses, too.
std::optional<Address> numeric_address(const std::string& host, uint16_t port) {
  Address address;
  if (auto* v4 = reinterpret_cast<sockaddr_in*>(&address.value);
      inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    address.size = sizeof *v4;
    return address;
  }
  if (auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.value);
      inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    address.size = sizeof *v6;
    return address;
  }
  return std::nullopt;
}

}  // namespace

std::vector<Address> resolve_host(const std::string& host, uint16_t port, int timeout_ms) {
  if (auto address = numeric_address(host, port)) return {*address};
  Answer answer;
  {
    Channel channel;
    ares_addrinfo_hints hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = ARES_AI_NUMERICSERV;
    std::string service = std::to_string(port);
    ares_getaddrinfo(channel.get(), host.c_str(), service.c_str(), &hints, take_answer, &answer);
    int64_t end = monotonic_ns() + int64_t{timeout_ms} * 1'000'000;
    while (!answer.is_done) {
      if (monotonic_ns() > end) {
        ares_cancel(channel.get());
        fail(ErrorCode::kIo, "host {}: no name server answered within {} s", host, timeout_ms / 1000);
      }
      channel.process();
    }
  }
  if (answer.status == ARES_ENOTFOUND || answer.status == ARES_ENODATA)
    throw Error(ErrorCode::kNotFound, "host " + host + ": no such name")
        .with_hint("check the address, and the name servers in /etc/resolv.conf");
  if (answer.status != ARES_SUCCESS) fail(ErrorCode::kIo, "host {}: {}", host, ares_strerror(answer.status));
  if (answer.addresses.empty()) fail(ErrorCode::kNotFound, "host {}: it has no address", host);
  return std::move(answer.addresses);
}

}  // namespace corten::http
