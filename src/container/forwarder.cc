#include "container/forwarder.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

namespace corten::container {

namespace {

constexpr size_t kMaxPending = 64 << 10;
constexpr int64_t kFlowLife_ns = 60'000'000'000, kSweep_ns = 30'000'000'000;

// Connected, or on the way.
UniqueFd connect_local(uint16_t port, int type, bool six) {
  UniqueFd fd(socket(six ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fd;
  int result;
  if (six) {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(port);
    address.sin6_addr = in6addr_loopback;
    result = connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  } else {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    result = connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  }
  if (result != 0 && errno != EINPROGRESS) fd.reset();
  return fd;
}

}  // namespace

Forwarder::Forwarder(std::vector<Listener> listeners, EventLoop& loop)
    : loop_(loop), listeners_(std::move(listeners)) {
  for (Listener& listener : listeners_) {
    if (listener.port.protocol != "udp") continue;
    Udp& udp = udp_.emplace_back(Udp{&listener, {}});
    loop_.watch(listener.fd.get(), EPOLLIN, [this, &udp](uint32_t) { receive_udp(udp); });
  }
  watch_listeners(true);
  if (!udp_.empty()) sweep_flows();
}

Forwarder::~Forwarder() {
  loop_.cancel(sweep_);
  for (Connection& connection : connections_) {
    loop_.forget(connection.outer.fd.get());
    loop_.forget(connection.inner.fd.get());
  }
  for (Udp& udp : udp_)
    for (auto& [from, flow] : udp.flows) loop_.forget(flow.fd.get());
  for (Listener& listener : listeners_) loop_.forget(listener.fd.get());
}

void Forwarder::watch_listeners(bool on) {
  for (Listener& listener : listeners_) {
    if (listener.port.protocol == "udp") continue;
    if (on)
      loop_.watch(listener.fd.get(), EPOLLIN, [this, &listener](uint32_t) { accept_tcp(listener); });
    else
      loop_.forget(listener.fd.get());
  }
  is_full_ = !on;
}

void Forwarder::accept_tcp(Listener& listener) {
  UniqueFd outer(accept4(listener.fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!outer) return;  // it went away again, or we are out of descriptors: the next round tries anew
  Connection& connection = connections_.emplace_back();
  connection.outer.fd = std::move(outer);
  connection.port = listener.port.container;
  At at = std::prev(connections_.end());
  loop_.watch(at->outer.fd.get(), 0, [this, at](uint32_t events) { take_event(at, true, events); });
  if (!connect_inside(at, false)) return drop(at, true);
  if (connections_.size() >= kMaxConnections) watch_listeners(false);
}

bool Forwarder::connect_inside(At connection, bool six) {
  if (connection->inner.fd) loop_.forget(connection->inner.fd.get());
  connection->inner.fd = connect_local(connection->port, SOCK_STREAM, six);
  connection->tried_six = six;
  if (!connection->inner.fd) return false;
  connection->inner.is_connecting = true;
  loop_.watch(connection->inner.fd.get(), EPOLLOUT,
              [this, connection](uint32_t events) { take_event(connection, false, events); });
  return true;
}

// Moves what can be moved from one side to the other. False when the connection is broken.
bool Forwarder::pump(Side& from, Side& to) {
  char buffer[16 << 10];
  while (true) {
    while (!to.pending.empty() && !to.is_connecting) {
      ssize_t n = send(to.fd.get(), to.pending.data(), to.pending.size(), MSG_NOSIGNAL);
      if (n < 0 && errno == EAGAIN) break;
      if (n < 0) return false;
      to.pending.erase(0, static_cast<size_t>(n));
    }
    if (from.is_read_out || from.is_connecting || to.pending.size() >= kMaxPending) break;
    ssize_t n = recv(from.fd.get(), buffer, sizeof buffer, 0);
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) return false;
    if (n == 0) from.is_read_out = true;
    to.pending.append(buffer, static_cast<size_t>(n));
  }
  if (from.is_read_out && to.pending.empty() && !to.is_shut && !to.is_connecting) {
    shutdown(to.fd.get(), SHUT_WR);
    to.is_shut = true;
  }
  return true;
}

// The kernel tells of errors and hang-ups whether they are asked for or not: a side that is done is not
// listened to any more.
void Forwarder::take_event(At connection, bool is_outer, uint32_t events) {
  Side& side = is_outer ? connection->outer : connection->inner;
  if (!side.is_connecting && (events & EPOLLERR) != 0) return drop(connection, true);
  if ((events & EPOLLHUP) != 0 && side.is_read_out && side.is_shut) {
    loop_.forget(side.fd.get());
    side.is_watched = false;
  }
  serve(connection);
}

void Forwarder::serve(At connection) {
  if (connection->inner.is_connecting) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(connection->inner.fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error == ECONNREFUSED && !connection->tried_six && connect_inside(connection, true)) return;
    if (error != 0) return drop(connection, true);
    sockaddr_storage peer;
    size = sizeof peer;
    connection->inner.is_connecting =
        getpeername(connection->inner.fd.get(), reinterpret_cast<sockaddr*>(&peer), &size) != 0;
  }
  if (!pump(connection->outer, connection->inner) || !pump(connection->inner, connection->outer))
    return drop(connection, true);
  if (connection->outer.is_shut && connection->inner.is_shut) return drop(connection, false);
  update(connection);
}

void Forwarder::update(At connection) {
  auto wanted = [](const Side& side, const Side& other) {
    uint32_t events = 0;
    if (!side.is_read_out && !side.is_connecting && other.pending.size() < kMaxPending) events |= EPOLLIN;
    if (side.is_connecting || !side.pending.empty()) events |= EPOLLOUT;
    return events;
  };
  if (connection->outer.is_watched)
    loop_.change(connection->outer.fd.get(), wanted(connection->outer, connection->inner));
  if (connection->inner.is_watched)
    loop_.change(connection->inner.fd.get(), wanted(connection->inner, connection->outer));
}

void Forwarder::drop(At connection, bool reset) {
  if (reset) {
    linger now{.l_onoff = 1, .l_linger = 0};
    setsockopt(connection->outer.fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  loop_.forget(connection->outer.fd.get());
  if (connection->inner.fd) loop_.forget(connection->inner.fd.get());
  connections_.erase(connection);
  if (is_full_ && connections_.size() < kMaxConnections) watch_listeners(true);
}

void Forwarder::receive_udp(Udp& udp) {
  std::string buffer(65536, '\0');
  for (int i = 0; i < 64; i++) {
    sockaddr_storage from;
    socklen_t size = sizeof from;
    ssize_t n = recvfrom(udp.listener->fd.get(), buffer.data(), buffer.size(), 0,
                         reinterpret_cast<sockaddr*>(&from), &size);
    if (n < 0) return;
    Flow* flow = flow_of(udp, std::string(reinterpret_cast<char*>(&from), size));
    if (flow) send(flow->fd.get(), buffer.data(), static_cast<size_t>(n), MSG_NOSIGNAL);  // UDP: may be lost
  }
}

Forwarder::Flow* Forwarder::flow_of(Udp& udp, const std::string& from) {
  auto at = udp.flows.find(from);
  if (at == udp.flows.end()) {
    if (udp.flows.size() >= kMaxFlows) return nullptr;
    UniqueFd inner = connect_local(udp.listener->port.container, SOCK_DGRAM, false);
    if (!inner) return nullptr;
    at = udp.flows.emplace(from, Flow{std::move(inner), from, 0}).first;
    Flow& flow = at->second;
    loop_.watch(flow.fd.get(), EPOLLIN, [this, &udp, &flow](uint32_t) { answer_udp(udp, flow); });
  }
  at->second.used_ns = monotonic_ns();
  return &at->second;
}

void Forwarder::answer_udp(Udp& udp, Flow& flow) {
  std::string buffer(65536, '\0');
  for (int i = 0; i < 64; i++) {
    ssize_t n = recv(flow.fd.get(), buffer.data(), buffer.size(), 0);
    if (n < 0) return;  // nothing more, or nobody listens there
    flow.used_ns = monotonic_ns();
    sendto(udp.listener->fd.get(), buffer.data(), static_cast<size_t>(n), MSG_NOSIGNAL,
           reinterpret_cast<const sockaddr*>(flow.from.data()), static_cast<socklen_t>(flow.from.size()));
  }
}

void Forwarder::sweep_flows() {
  for (Udp& udp : udp_)
    for (auto at = udp.flows.begin(); at != udp.flows.end();) {
      if (monotonic_ns() - at->second.used_ns < kFlowLife_ns) {
        ++at;
        continue;
      }
      loop_.forget(at->second.fd.get());
      at = udp.flows.erase(at);
    }
  sweep_ = loop_.after(kSweep_ns, [this] { sweep_flows(); });
}

}  // namespace corten::container
