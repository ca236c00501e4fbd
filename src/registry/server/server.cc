#include "registry/server/server.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <thread>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "registry/server/connection.h"

namespace corten::registry::serving {

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

tcp::endpoint parse_listen(const std::string& text) {
  const size_t colon = text.rfind(':');
  const std::optional<int64_t> port =
      colon == std::string::npos ? std::nullopt : parse_int(text.substr(colon + 1));
  std::string host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host == "localhost") host = "127.0.0.1";
  error_code ec;
  const asio::ip::address address = asio::ip::make_address(host.empty() ? "::" : host, ec);
  if (ec || !port || *port < 0 || *port > 65535)
    throw Error(ErrorCode::kInvalid,
                fmt::format("listen address {}: not of the form ADDRESS:PORT", quote(text)))
        .with_hint("for example 127.0.0.1:5000, 0.0.0.0:5000 or [::1]:5000; port 0 takes a free one");
  return {address, static_cast<uint16_t>(*port)};
}

// Connections and uploads take a descriptor each.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

struct Server::Inside {
  explicit Inside(ServerOptions given) : options(std::move(given)) {
    options.threads = std::max(1u, options.threads);
    for (unsigned i = 0; i < options.threads; i++) loops.push_back(std::make_unique<Loop>());
  }

  void listen();
  void accept();
  void take(Loop& loop, tcp::socket socket);
  void tick(Loop& loop, asio::steady_timer& timer);
  void run(Loop& loop);
  void end();

  ServerOptions options;
  std::atomic<size_t> connections = 0;
  std::vector<std::unique_ptr<Loop>> loops;  // outlive the service, which answers through them
  std::unique_ptr<Service> service;
  std::unique_ptr<TlsContext> tls;
  std::unique_ptr<tcp::acceptor> acceptor;
  std::unique_ptr<asio::steady_timer> accept_pause;
  std::vector<std::thread> threads;
  size_t next = 0;
  tcp::endpoint address;
};

void Server::Inside::listen() {
  const tcp::endpoint wanted = parse_listen(options.listen);
  error_code ec;
  acceptor = std::make_unique<tcp::acceptor>(loops[0]->context);
  acceptor->open(wanted.protocol(), ec);
  if (!ec) fcntl(acceptor->native_handle(), F_SETFD, FD_CLOEXEC);
  if (!ec) acceptor->set_option(tcp::acceptor::reuse_address(true), ec);
  if (!ec) acceptor->bind(wanted, ec);
  if (!ec) acceptor->listen(1024, ec);
  if (ec) fail(ErrorCode::kIo, "listen on {}: {}", options.listen, to_lower(ec.message()));
  address = acceptor->local_endpoint();
  accept_pause = std::make_unique<asio::steady_timer>(loops[0]->context);
}

void Server::Inside::accept() {
  Loop& loop = *loops[next++ % loops.size()];
  acceptor->async_accept(loop.context, [this, &loop](const error_code& ec, tcp::socket socket) {
    if (!acceptor->is_open()) return;
    if (ec) {
      // No descriptors, no memory: whoever waits in the queue waits a little longer.
      accept_pause->expires_after(std::chrono::milliseconds(100));
      accept_pause->async_wait([this](const error_code& stopped) {
        if (!stopped && acceptor->is_open()) accept();
      });
      return;
    }
    if (connections < options.limits.max_connections)
      asio::post(loop.context,
                 [this, &loop, taken = std::move(socket)]() mutable { take(loop, std::move(taken)); });
    accept();
  });
}

void Server::Inside::take(Loop& loop, tcp::socket socket) {
  error_code ec;
  const tcp::endpoint peer = socket.remote_endpoint(ec);
  if (ec || loop.is_ending) return;
  fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);  // Asio does not
  socket.set_option(tcp::no_delay(true), ec);
  socket.native_non_blocking(true, ec);
  if (ec) return;
  connections++;
  service->metrics().connections++;
  const std::shared_ptr<void> slot(nullptr, [this](void*) {
    connections--;
    if (service) service->metrics().connections--;
  });
  const int fd = socket.native_handle();
  auto connection =
      std::make_shared<Connection>(loop, std::move(socket), tls ? tls->channel(fd) : plain_channel(fd),
                                   *service, options.limits, peer.address().to_string(), slot);
  loop.connections.insert(connection);
  connection->start();
}

void Server::Inside::tick(Loop& loop, asio::steady_timer& timer) {
  timer.expires_after(std::chrono::seconds(1));
  timer.async_wait([this, &loop, &timer](const error_code& ec) {
    if (ec) return;
    const int64_t now = monotonic_ns();
    const std::vector<std::shared_ptr<Connection>> all(loop.connections.begin(), loop.connections.end());
    for (const auto& connection : all) connection->check_time(now);
    tick(loop, timer);
  });
}

void Server::Inside::run(Loop& loop) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGPIPE);  // sendfile(2) to a client that went away
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  asio::steady_timer timer(loop.context);
  tick(loop, timer);
  while (!loop.context.stopped()) {
    try {
      loop.context.run();
    } catch (const std::exception& failure) {
      service->failed(failure);  // one connection's: the others go on
    }
  }
}

void Server::Inside::end() {
  asio::post(loops[0]->context, [this] {
    error_code ignored;
    acceptor->close(ignored);
    accept_pause->cancel(ignored);
  });
  for (auto& loop : loops)
    asio::post(loop->context, [&loop = *loop] {
      loop.is_ending = true;
      const std::vector<std::shared_ptr<Connection>> all(loop.connections.begin(), loop.connections.end());
      for (const auto& connection : all) connection->end();
    });
  for (int waited_ms = 0; connections > 0 && waited_ms < options.limits.end_s * 1000; waited_ms += 10)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  for (auto& loop : loops) loop->context.stop();
  for (std::thread& thread : threads) thread.join();
}

Server::Server(ServerOptions options) : inside_(std::make_unique<Inside>(std::move(options))) {
  Inside& inside = *inside_;
  raise_descriptor_limit();
  if (!inside.options.tls_certificate.empty())
    inside.tls = std::make_unique<TlsContext>(inside.options.tls_certificate, inside.options.tls_key);
  inside.listen();
  inside.service = std::make_unique<Service>(inside.options.service);
  inside.accept();
  for (auto& loop : inside.loops) inside.threads.emplace_back([&inside, &loop = *loop] { inside.run(loop); });
}

Server::~Server() {
  Inside& inside = *inside_;
  inside.end();
  inside.service.reset();  // what is still on its way to the disk gets there
  for (auto& loop : inside.loops) loop->connections.clear();
}

uint16_t Server::port() const {
  return inside_->address.port();
}

std::string Server::url() const {
  const std::string host = inside_->address.address().to_string();
  return fmt::format("{}://{}:{}", inside_->tls ? "https" : "http",
                     inside_->address.address().is_v6() ? "[" + host + "]" : host, port());
}

}  // namespace corten::registry::serving
