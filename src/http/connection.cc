#include "http/connection.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>

#include "base/beneath.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "http/name_resolver.h"

namespace corten::http {

namespace {

// Until the descriptor is ready; false after the time.
bool wait_for(int fd, short events, int timeout_ms, const Cancellation& cancellation) {
  constexpr int kSliceMs = 100;
  for (int left = timeout_ms; left > 0; left -= kSliceMs) {
    cancellation.check();
    pollfd wanted{fd, events, 0};
    int n = poll(&wanted, 1, std::min(left, kSliceMs));
    if (n > 0) return true;
    if (n < 0 && errno != EINTR) fail_errno("wait for a server");
  }
  return false;
}

class TcpConnection : public Connection {
 public:
  TcpConnection(UniqueFd fd, std::string peer, const ConnectionTimeouts& timeouts)
      : fd_(std::move(fd)), peer_(std::move(peer)), timeouts_(timeouts) {}

  size_t read(void* data, size_t size) override {
    while (true) {
      ssize_t n = recv(fd_.get(), data, size, 0);
      if (n >= 0) return static_cast<size_t>(n);
      if (errno == EINTR) continue;
      if (errno != EAGAIN) throw errno_error(errno, "receive from " + peer_);
      wait(POLLIN);
    }
  }

  void write(std::string_view bytes) override {
    while (!bytes.empty()) {
      ssize_t n = send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n >= 0) {
        bytes.remove_prefix(static_cast<size_t>(n));
        continue;
      }
      if (errno == EINTR) continue;
      if (errno != EAGAIN) throw errno_error(errno, "send to " + peer_);
      wait(POLLOUT);
    }
  }

  bool is_closed() override {
    char byte;
    const ssize_t n = recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    // Bytes that nobody asked for would be taken for the next answer.
    return n >= 0 || (errno != EAGAIN && errno != EINTR);
  }

 private:
  void wait(short events) {
    if (!wait_for(fd_.get(), events, timeouts_.silence_ms, timeouts_.cancellation))
      fail(ErrorCode::kIo, "{}: silent for {} s", peer_, timeouts_.silence_ms / 1000);
  }

  UniqueFd fd_;
  std::string peer_;
  ConnectionTimeouts timeouts_;
};

// 0, or the error of this address.
int connect_to(const Address& address, const ConnectionTimeouts& timeouts, UniqueFd& fd) {
  fd = UniqueFd(socket(address.value.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno;
  int on = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.value), address.size) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  if (!wait_for(fd.get(), POLLOUT, timeouts.connect_ms, timeouts.cancellation)) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
  return error;
}

std::string openssl_error() {
  unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "the connection was closed";
  const char* reason = ERR_reason_error_string(code);
  return reason ? reason : "error " + std::to_string(code);
}

struct ContextDeleter {
  void operator()(SSL_CTX* p) const { SSL_CTX_free(p); }
};
struct SslDeleter {
  void operator()(SSL* p) const { SSL_free(p); }
};

std::string authorities_file() {
  if (const char* file = getenv("SSL_CERT_FILE"); file && *file) return file;
  for (const char* file : {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                           "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"})
    if (path_exists(file)) return file;
  throw Error(ErrorCode::kNotFound,
              "no certificate authorities: /etc/ssl/certs/ca-certificates.crt is missing")
      .with_hint("install ca-certificates, or name a bundle with SSL_CERT_FILE");
}

void load_authorities(SSL_CTX* context, const std::string& file) {
  if (SSL_CTX_load_verify_file(context, file.c_str()) != 1)
    fail(ErrorCode::kIo, "certificate authorities {}: {}", file, openssl_error());
}

std::shared_ptr<SSL_CTX> make_context(const TlsOptions& options) {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_client_method()), ContextDeleter());
  if (!context) fail(ErrorCode::kIo, "TLS: {}", openssl_error());
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_IGNORE_UNEXPECTED_EOF);
  if (options.is_verified) {
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    load_authorities(context.get(), options.authorities.empty() ? authorities_file() : options.authorities);
    for (const std::string& file : options.more_authorities) load_authorities(context.get(), file);
  }
  if (!options.certificate.empty()) {
    const std::string& key = options.key.empty() ? options.certificate : options.key;
    if (SSL_CTX_use_certificate_chain_file(context.get(), options.certificate.c_str()) != 1)
      fail(ErrorCode::kInvalid, "client certificate {}: {}", options.certificate, openssl_error());
    if (SSL_CTX_use_PrivateKey_file(context.get(), key.c_str(), SSL_FILETYPE_PEM) != 1)
      fail(ErrorCode::kInvalid, "client key {}: {}", key, openssl_error());
  }
  return context;
}

// Reading a bundle of authorities takes some ten milliseconds: once for each kind of options.
std::shared_ptr<SSL_CTX> context_for(const TlsOptions& options) {
  static std::mutex mutex;
  static std::map<std::pair<TlsOptions, std::string>, std::shared_ptr<SSL_CTX>> made;
  const char* file = getenv("SSL_CERT_FILE");
  std::lock_guard lock(mutex);
  std::shared_ptr<SSL_CTX>& context = made[{options, file ? file : ""}];
  if (!context) context = make_context(options);
  return context;
}

// OpenSSL's bytes go through the plain connection, so that time-outs and SIGPIPE are one matter. An exception
// may not cross OpenSSL's frames: it waits here.
class TlsConnection : public Connection {
 public:
  TlsConnection(std::unique_ptr<Connection> plain, const std::string& host, const TlsOptions& options)
      : plain_(std::move(plain)), host_(host), context_(context_for(options)) {
    ssl_.reset(SSL_new(context_.get()));
    set_expected_name();
    BIO* bio = BIO_new(method());
    BIO_set_data(bio, this);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl_.get(), bio, bio);
    if (SSL_connect(ssl_.get()) != 1) fail_handshake();
  }

  size_t read(void* data, size_t size) override {
    size_t n = 0;
    if (SSL_read_ex(ssl_.get(), data, size, &n) == 1) return n;
    rethrow();
    if (SSL_get_error(ssl_.get(), 0) == SSL_ERROR_ZERO_RETURN) return 0;
    fail(ErrorCode::kIo, "receive from {}: {}", host_, openssl_error());
  }

  void write(std::string_view bytes) override {
    size_t n = 0;
    if (bytes.empty() || SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &n) == 1) return;
    rethrow();
    fail(ErrorCode::kIo, "send to {}: {}", host_, openssl_error());
  }

  bool is_closed() override { return plain_->is_closed(); }

 private:
  void set_expected_name() {
    in6_addr number;
    bool is_number =
        inet_pton(AF_INET, host_.c_str(), &number) == 1 || inet_pton(AF_INET6, host_.c_str(), &number) == 1;
    X509_VERIFY_PARAM* expected = SSL_get0_param(ssl_.get());
    bool ok = is_number ? X509_VERIFY_PARAM_set1_ip_asc(expected, host_.c_str()) == 1
                        : X509_VERIFY_PARAM_set1_host(expected, host_.c_str(), 0) == 1 &&
                              SSL_set_tlsext_host_name(ssl_.get(), host_.c_str()) == 1;
    if (!ok) fail(ErrorCode::kInvalid, "host {}: not a name that a certificate can have", host_);
  }

  [[noreturn]] void fail_handshake() {
    rethrow();
    long verdict = SSL_get_verify_result(ssl_.get());
    if (verdict != X509_V_OK)
      throw Error(ErrorCode::kPermission, fmt::format("https://{}: its certificate is not trusted: {}", host_,
                                                      X509_verify_cert_error_string(verdict)))
          .with_hint("when a proxy of yours speaks TLS, name its authority's file with SSL_CERT_FILE");
    fail(ErrorCode::kIo, "TLS with {}: {}", host_, openssl_error());
  }

  void rethrow() {
    if (pending_) std::rethrow_exception(std::exchange(pending_, nullptr));
  }

  static int bio_read(BIO* bio, char* data, size_t size, size_t* done) {
    auto& self = *static_cast<TlsConnection*>(BIO_get_data(bio));
    try {
      *done = self.plain_->read(data, size);
      self.is_at_end_ = *done == 0;
      return *done > 0;
    } catch (...) {
      self.pending_ = std::current_exception();
      return 0;
    }
  }
  static int bio_write(BIO* bio, const char* data, size_t size, size_t* done) {
    auto& self = *static_cast<TlsConnection*>(BIO_get_data(bio));
    try {
      self.plain_->write({data, size});
      *done = size;
      return 1;
    } catch (...) {
      self.pending_ = std::current_exception();
      return 0;
    }
  }
  static long bio_control(BIO* bio, int command, long, void*) {
    if (command == BIO_CTRL_EOF) return static_cast<TlsConnection*>(BIO_get_data(bio))->is_at_end_;
    return command == BIO_CTRL_FLUSH;
  }
  static const BIO_METHOD* method() {
    static const BIO_METHOD* made = [] {
      BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "corten connection");
      BIO_meth_set_read_ex(m, bio_read);
      BIO_meth_set_write_ex(m, bio_write);
      BIO_meth_set_ctrl(m, bio_control);
      return m;
    }();
    return made;
  }

  std::unique_ptr<Connection> plain_;
  std::string host_;
  std::shared_ptr<SSL_CTX> context_;
  std::unique_ptr<SSL, SslDeleter> ssl_;
  std::exception_ptr pending_;
  bool is_at_end_ = false;
};

}  // namespace

std::unique_ptr<Connection> connect_plain(const std::string& host, uint16_t port,
                                          const ConnectionTimeouts& timeouts) {
  int error = 0;
  for (const Address& address : resolve_host(host, port, timeouts.connect_ms)) {
    UniqueFd fd;
    error = connect_to(address, timeouts, fd);
    if (error == 0) return std::make_unique<TcpConnection>(std::move(fd), host, timeouts);
  }
  throw Error(ErrorCode::kIo, fmt::format("connect to {} port {}: {}", host, port, errno_text(error)))
      .with_errno(error);
}

std::unique_ptr<Connection> start_tls(std::unique_ptr<Connection> plain, const std::string& host,
                                      const TlsOptions& options) {
  return std::make_unique<TlsConnection>(std::move(plain), host, options);
}

}  // namespace corten::http
