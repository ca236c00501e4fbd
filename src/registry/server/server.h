// The embedded registry: listens, and gives what comes to the service.
//
// Each of a few threads runs a loop (Asio) with connections of its own, so that no connection needs a lock. A
// connection that waits holds no buffer: a loop has one, and asks the kernel only for whether something can
// be read. What would block (syncs, listings, reading an upload again) is done by the service's workers and
// the journal's thread, whose answers are posted back to the loop. Thousands of idle connections so take some
// hundred bytes each of ours, besides the kernel's.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "registry/server/service.h"

namespace corten::registry::serving {

struct ServerLimits {
  int idle_s = 120;            // without a request
  int header_s = 20;           // for a request's head, once begun
  int slow_window_s = 60;      // of a body or an answer, in which
  uint64_t slow_bytes = 4096;  // must go through
  int end_s = 5;               // for requests under way when the server ends
  size_t max_connections = 8192;
};

struct ServerOptions {
  std::string listen = "127.0.0.1:5000";  // an address and a port (0: a free one); "[::1]:5000"
  unsigned threads = 2;
  std::string tls_certificate, tls_key;  // PEM files; "": plain
  ServerLimits limits = {};
  ServiceOptions service;
};

class Server {
 public:
  // Listens when it returns. Error(kInvalid) for an address that is none, Error(kIo) for one that is taken.
  explicit Server(ServerOptions options);
  // Lets requests under way end, up to the limit, then closes everything; what was acknowledged is on the
  // disk.
  ~Server();
  std::string url() const;  // "http://127.0.0.1:41234"
  uint16_t port() const;

 private:
  struct Inside;
  std::unique_ptr<Inside> inside_;
};

}  // namespace corten::registry::serving
