// A byte stream to a server: TCP, plain or in TLS, with a limit on how long it may stay silent.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"

namespace corten::http {

struct ConnectionTimeouts {
  int connect_ms = 20'000;         // for each address, and for the TLS handshake
  int silence_ms = 60'000;         // without a byte in either direction
  Cancellation cancellation = {};  // Error(kCancelled) from whatever waits
};

// Not thread-safe. Everything throws Error(kIo) that names the peer.
class Connection {
 public:
  virtual ~Connection() = default;
  virtual size_t read(void* data, size_t size) = 0;  // 0: the peer has closed it
  virtual void write(std::string_view bytes) = 0;
  // Whether the peer is known to have closed it, or has sent what nobody asked for; for idle ones.
  virtual bool is_closed() { return false; }
};

std::unique_ptr<Connection> connect_plain(const std::string& host, uint16_t port,
                                          const ConnectionTimeouts& timeouts);

// Whom to trust, and how to show who we are. Files are PEM; "" is none.
struct TlsOptions {
  std::string authorities;                    // instead of the system's bundle
  std::vector<std::string> more_authorities;  // beside it
  std::string certificate, key;               // the client's own
  bool is_verified = true;                    // false: any certificate will do
  auto operator<=>(const TlsOptions&) const = default;
};

// Speaks TLS (1.2 or later) over a plain connection. The peer must show a certificate for `host` that the
// authorities vouch for: $SSL_CERT_FILE, else the system's bundle (/etc/ssl/certs/ca-certificates.crt and
// where other distributions keep it). Error(kPermission) when it does not, with what to do as hint.
std::unique_ptr<Connection> start_tls(std::unique_ptr<Connection> plain, const std::string& host,
                                      const TlsOptions& options = {});

}  // namespace corten::http
