// A client of HTTP/1.1 (RFC 9110, 9112), with redirects, proxies, TLS and files of this machine.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "archive/source.h"
#include "base/thread_pool.h"
#include "http/connection.h"
#include "http/url.h"

namespace corten::http {

// How a proxy is found: the variables that curl reads.
struct Proxies {
  std::string http, https;  // addresses; "" is none
  std::string none;         // no_proxy: names, suffixes, addresses and networks, comma-separated; "*" is all
  // http_proxy, https_proxy or HTTPS_PROXY, no_proxy or NO_PROXY (HTTP_PROXY is not read: a CGI request can
  // set it).
  static Proxies from_environment();
  // The proxy for this address, or "".
  std::string proxy_for(const Url& url) const;
};

struct ClientOptions {
  Proxies proxies = Proxies::from_environment();
  ConnectionTimeouts timeouts;
  int max_redirects = 10;
  int attempts = 4;          // of with_retries()
  int first_pause_ms = 500;  // doubled after each attempt
  // A body that comes slower than this for as long as the silence that is allowed is given up: whoever sends
  // a byte a minute would go on for ever.
  uint64_t slowest_bytes_per_s = 100;
  Cancellation cancellation;
  // How TLS is spoken with that server ("host", "host:8443"); unset: as the system says.
  std::function<TlsOptions(const std::string& authority)> tls;
  // How a plain connection is made; unset: by TCP.
  std::function<std::unique_ptr<Connection>(const std::string& host, uint16_t port)> connector;
};

using Fields = std::vector<std::pair<std::string, std::string>>;

// What is sent: `open` gives it from its start, again for each time that it has to be sent.
struct RequestBody {
  uint64_t size = 0;
  std::function<std::unique_ptr<archive::ByteSource>()> open;
  static RequestBody of(std::string bytes);
};

struct Request {
  std::string url;
  Fields fields;  // no line ends in them; Authorization and Cookie are dropped when a redirect leads to
                  // another host
  bool is_conditional = false;  // 304 is an answer, not an error
  std::string method = "GET";   // a redirected POST, PUT, PATCH or DELETE is sent again by 307 and 308 alone
  std::optional<RequestBody> body = {};
  bool any_status = false;        // every status is an answer, but for redirects
  bool follows_redirects = true;  // false: they are answers too (with any_status)
  Fields own_fields = {};         // for the host of `url` alone: no redirect takes them to another
};

struct Response {
  std::string url;               // after redirects, without user and password
  unsigned status = 200;         // or 304
  std::optional<uint64_t> size;  // of the body, when it was told
  std::string etag, content_type, last_modified, content_encoding;
  Fields fields;                              // all, as they came; at most 64 KiB
  std::unique_ptr<archive::ByteSource> body;  // Error(kIo) when it is cut short
  // The first of that name (in any case), or "".
  std::string field(std::string_view name) const;
};

// Thread-safe; keeps connections open between requests.
class Client {
 public:
  explicit Client(ClientOptions options = {});
  ~Client();

  // Opens http, https, file and copy addresses (these: GET alone). Error(kNotFound) for 404 and 410,
  // kPermission for 401, 403 and 407, kIo for what may pass (no connection, time-outs, 408, 425, 429, 5xx),
  // kFailed for the rest; all name the address.
  Response open(const std::string& url) { return open(Request{url, {}, false}); }
  Response open(const Request& request);

  // The body as a string, or into a sink, with retries; Error(kInvalid) beyond `max_bytes`. A sink that has
  // been given bytes is not given them again: the failure is final then.
  std::string get(const std::string& url, size_t max_bytes);
  uint64_t get(const std::string& url, archive::ByteSink& to, uint64_t max_bytes);

  // Calls `attempt` until it does not throw Error(kIo), with growing pauses; the last failure comes through.
  void with_retries(const std::function<void()>& attempt);

 private:
  struct Pool;
  struct Exchange;
  class Body;
  Response open_file_address(const Url& url);
  TlsOptions tls_for(const Url& url) const;
  std::unique_ptr<Exchange> exchange(const Url& url, const Request& request);
  void send(Exchange& exchange, const std::string& header, const Request& request, const std::string& shown);
  std::unique_ptr<Connection> connect(const Url& url, const std::string& proxy);
  std::unique_ptr<Connection> connect_to(const std::string& host, uint16_t port);

  ClientOptions options_;
  std::shared_ptr<Pool> pool_;
};

}  // namespace corten::http
