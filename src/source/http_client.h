// GET over HTTP/1.1 (RFC 9110, 9112), with redirects, proxies, TLS and files of this machine.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "archive/source.h"
#include "base/thread_pool.h"
#include "source/connection.h"
#include "source/url.h"

namespace corten::source {

// How a proxy is found: the variables that curl reads.
struct Proxies {
  std::string http, https;  // addresses; "" is none
  std::string none;         // no_proxy: names, suffixes and addresses, comma-separated; "*" is all
  // http_proxy, https_proxy or HTTPS_PROXY, no_proxy or NO_PROXY (HTTP_PROXY is not read: a CGI request can
  // set it).
  static Proxies from_environment();
  // The proxy for this address, or "".
  std::string proxy_for(const Url& url) const;
};

struct HttpOptions {
  Proxies proxies = Proxies::from_environment();
  ConnectionTimeouts timeouts;
  int max_redirects = 10;
  int attempts = 4;          // of with_retries()
  int first_pause_ms = 500;  // doubled after each attempt
  Cancellation cancellation;
};

struct HttpResponse {
  std::string url;               // after redirects, without user and password
  std::optional<uint64_t> size;  // of the body, when it was told
  std::string etag, content_type;
  std::unique_ptr<archive::ByteSource> body;  // Error(kIo) when it is cut short
};

// Thread-safe; keeps connections open between requests.
class HttpClient {
 public:
  explicit HttpClient(HttpOptions options = {});
  ~HttpClient();

  // Opens http, https, file and copy addresses. Error(kNotFound) for 404 and 410, kPermission for 401, 403
  // and 407, kIo for what may pass (no connection, time-outs, 408, 425, 429, 5xx), kFailed for the rest; all
  // name the address.
  HttpResponse open(const std::string& url);

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
  HttpResponse open_file_address(const Url& url);
  std::unique_ptr<Exchange> request(const Url& url);
  std::unique_ptr<Connection> connect(const Url& url, const std::string& proxy);

  HttpOptions options_;
  std::shared_ptr<Pool> pool_;
};

}  // namespace corten::source
