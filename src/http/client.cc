#include "http/client.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <cstring>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"

namespace corten::http {

namespace {

namespace beast = boost::beast::http;
using boost::system::error_code;

constexpr uint32_t kMaxHeaderBytes = 64 << 10;
constexpr size_t kMaxIdleConnections = 16;
constexpr uint64_t kMaxRepeatedBody = 64 << 10;

// A connection as Beast reads it (SyncReadStream). Our errors pass through Beast as exceptions.
struct BeastStream {
  Connection& connection;
  int64_t deadline_ns = std::numeric_limits<int64_t>::max();
  std::string what = "the header";  // that must have come by then

  template <typename Buffers>
  size_t read_some(const Buffers& buffers, error_code& ec) {
    ec = {};
    for (auto at = boost::asio::buffer_sequence_begin(buffers);
         at != boost::asio::buffer_sequence_end(buffers); ++at) {
      boost::asio::mutable_buffer buffer(*at);
      if (buffer.size() == 0) continue;
      size_t n = connection.read(buffer.data(), buffer.size());
      if (n == 0) ec = boost::asio::error::eof;
      if (monotonic_ns() > deadline_ns) fail(ErrorCode::kIo, "{} does not end", what);
      return n;
    }
    return 0;
  }
  template <typename Buffers>
  size_t read_some(const Buffers& buffers) {
    error_code ec;
    size_t n = read_some(buffers, ec);
    if (ec) throw boost::system::system_error(ec);
    return n;
  }
};

std::string environment(const char* name) {
  const char* value = getenv(name);
  return value ? value : "";
}

bool is_redirect(unsigned status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

ErrorCode code_of_status(unsigned status) {
  switch (status) {
    case 401:
    case 403:
    case 407:
      return ErrorCode::kPermission;
    case 404:
    case 410:
      return ErrorCode::kNotFound;
    case 408:
    case 425:
    case 429:
      return ErrorCode::kIo;
    default:
      return status >= 500 ? ErrorCode::kIo : ErrorCode::kFailed;
  }
}

std::string proxy_credentials(const Url& proxy) {
  return proxy.user_info.empty() ? ""
                                 : "Proxy-Authorization: Basic " + base64_encode(proxy.user_info) + "\r\n";
}

}  // namespace

Proxies Proxies::from_environment() {
  Proxies proxies;
  proxies.http = environment("http_proxy");
  proxies.https = environment("https_proxy");
  if (proxies.https.empty()) proxies.https = environment("HTTPS_PROXY");
  proxies.none = environment("no_proxy");
  if (proxies.none.empty()) proxies.none = environment("NO_PROXY");
  return proxies;
}

std::string Proxies::proxy_for(const Url& url) const {
  const std::string& proxy = url.scheme == "https" ? https : http;
  if (proxy.empty()) return proxy;
  for (const std::string& part : split(none, ',')) {
    std::string rule = to_lower(trim(part));
    if (rule == "*" || is_in_network(url.host, rule)) return {};
    if (rule.starts_with('[') && rule.ends_with(']')) rule = rule.substr(1, rule.size() - 2);
    if (size_t colon = rule.rfind(':'); colon != std::string::npos && rule.find(':') == colon) {
      if (rule.substr(colon + 1) != std::to_string(url.port)) continue;
      rule.resize(colon);
    }
    while (rule.starts_with('.') || rule.starts_with("*.")) rule.erase(0, rule.find('.') + 1);
    if (rule.empty()) continue;
    if (url.host == rule || url.host.ends_with("." + rule)) return {};
  }
  return proxy.find("://") == std::string::npos ? "http://" + proxy : proxy;
}

// Idle connections by "scheme://host:port".
struct Client::Pool {
  std::mutex mutex;
  std::multimap<std::string, std::unique_ptr<Connection>> idle;

  std::unique_ptr<Connection> take(const std::string& key) {
    std::lock_guard lock(mutex);
    auto found = idle.find(key);
    if (found == idle.end()) return nullptr;
    auto connection = std::move(found->second);
    idle.erase(found);
    return connection;
  }
  void give(const std::string& key, std::unique_ptr<Connection> connection) {
    std::lock_guard lock(mutex);
    if (idle.size() >= kMaxIdleConnections) idle.erase(idle.begin());
    idle.emplace(key, std::move(connection));
  }
};

// One request and its answer, of which the header has been read.
struct Client::Exchange {
  std::string key;
  std::unique_ptr<Connection> connection;
  boost::beast::flat_buffer buffer{kMaxHeaderBytes + (256 << 10)};
  beast::response_parser<beast::buffer_body> parser;
  error_code error;
  bool is_cut = false;  // the request could not be sent whole: the connection is good for the answer alone

  // False when the peer closed the connection without a byte: an idle one that it had given up.
  bool read_header(const std::string& shown, int64_t patience_ms) {
    parser.header_limit(kMaxHeaderBytes);
    parser.body_limit(std::numeric_limits<uint64_t>::max());  // the reader has its own
    BeastStream stream{*connection, monotonic_ns() + patience_ms * 1'000'000};
    try {
      beast::read_header(stream, buffer, parser, error);
    } catch (Error& failure) {
      failure.add_context(shown);
      throw;
    }
    if (error == beast::error::end_of_stream) return false;
    if (error == beast::error::partial_message) fail(ErrorCode::kIo, "{}: the answer was cut short", shown);
    if (error) fail(ErrorCode::kFailed, "{}: malformed answer: {}", shown, error.message());
    return true;
  }
  unsigned status() { return parser.get().result_int(); }
  std::string field(beast::field name) {
    auto value = parser.get()[name];
    return std::string(value.data(), value.size());
  }
};

class Client::Body : public archive::ByteSource {
 public:
  Body(std::unique_ptr<Exchange> exchange, std::shared_ptr<Pool> pool, std::string shown,
       const ClientOptions& options)
      : exchange_(std::move(exchange)),
        pool_(std::move(pool)),
        shown_(std::move(shown)),
        cancellation_(options.cancellation),
        window_ns_(int64_t{options.timeouts.silence_ms} * 1'000'000),
        least_bytes_(options.slowest_bytes_per_s * static_cast<uint64_t>(options.timeouts.silence_ms) /
                     1000) {
    const auto& parser = exchange_->parser;
    if (parser.is_done()) return;
    if (const auto length = parser.content_length(); length && !parser.chunked())
      left_ = *length;
    else
      exchange_->buffer.reserve(64 << 10);  // Beast reads what there is room for
  }

  size_t read(void* data, size_t size) override {
    cancellation_.check();
    if (left_) return read_told(data, size);
    while (exchange_ && !exchange_->parser.is_done()) {
      auto& body = exchange_->parser.get().body();
      body.data = data;
      body.size = size;
      body.more = true;
      error_code ec;
      int64_t began = monotonic_ns();
      // Beast reads on until there is something of the body: what stands between chunks could come for ever.
      BeastStream stream{*exchange_->connection, began + window_ns_, shown_ + ": the frame of a chunk"};
      beast::read_some(stream, exchange_->buffer, exchange_->parser, ec);
      waited_ns_ += monotonic_ns() - began;
      if (ec == beast::error::need_buffer) ec = {};
      if (ec == beast::error::partial_message || ec == beast::error::end_of_stream)
        fail(ErrorCode::kIo, "{}: the body was cut short", shown_);
      if (ec) fail(ErrorCode::kIo, "{}: malformed body: {}", shown_, ec.message());
      size_t n = size - body.size;
      check_pace(n);
      if (n > 0) return n;
      cancellation_.check();
    }
    end();
    return 0;
  }

 private:
  // A body whose length was told needs no parser: it goes from the connection to the reader, in pieces as big
  // as these want.
  size_t read_told(void* data, size_t size) {
    if (*left_ == 0) {
      end();
      return 0;
    }
    size = static_cast<size_t>(std::min<uint64_t>(size, *left_));
    auto& held = exchange_->buffer;
    size_t n = std::min(size, held.size());
    if (n > 0) {
      memcpy(data, held.data().data(), n);
      held.consume(n);
    } else {
      const int64_t began = monotonic_ns();
      n = exchange_->connection->read(data, size);
      waited_ns_ += monotonic_ns() - began;
      if (n == 0) fail(ErrorCode::kIo, "{}: the body was cut short", shown_);
    }
    *left_ -= n;
    check_pace(n);
    return n;
  }

  // The connection is for the next request, if it can be.
  void end() {
    if (!exchange_) return;
    if (exchange_->parser.get().keep_alive() && !exchange_->is_cut && !exchange_->key.empty())
      pool_->give(exchange_->key, std::move(exchange_->connection));
    exchange_.reset();
  }

  // Only the time that is spent waiting counts: whoever reads may be slow.
  void check_pace(size_t n) {
    came_ += n;
    if (waited_ns_ < window_ns_) return;
    if (came_ < least_bytes_)
      fail(ErrorCode::kIo, "{}: too slow: {} bytes in {} s", shown_, came_, waited_ns_ / 1'000'000'000);
    came_ = 0;
    waited_ns_ = 0;
  }

  std::unique_ptr<Exchange> exchange_;
  std::shared_ptr<Pool> pool_;
  std::string shown_;
  Cancellation cancellation_;
  int64_t window_ns_, waited_ns_ = 0;
  uint64_t least_bytes_, came_ = 0;
  std::optional<uint64_t> left_;  // of a body whose length was told
};

namespace {

class FileBody : public archive::ByteSource {
 public:
  FileBody(UniqueFd fd, const std::string& path) : fd_(std::move(fd)), from_(fd_.get(), path) {}
  size_t read(void* data, size_t size) override { return from_.read(data, size); }

 private:
  UniqueFd fd_;
  archive::FdSource from_;
};

}  // namespace

RequestBody RequestBody::of(std::string bytes) {
  class Bytes : public archive::ByteSource {
   public:
    explicit Bytes(std::shared_ptr<const std::string> all) : all_(std::move(all)) {}
    size_t read(void* data, size_t size) override {
      const size_t n = all_->copy(static_cast<char*>(data), size, at_);
      at_ += n;
      return n;
    }

   private:
    std::shared_ptr<const std::string> all_;
    size_t at_ = 0;
  };
  auto all = std::make_shared<const std::string>(std::move(bytes));
  return {all->size(), [all] { return std::make_unique<Bytes>(all); }};
}

std::string Response::field(std::string_view name) const {
  for (const auto& [known, value] : fields)
    if (iequals(known, name)) return value;
  return {};
}

Client::Client(ClientOptions options) : options_(std::move(options)), pool_(std::make_shared<Pool>()) {
  options_.timeouts.cancellation = options_.cancellation;
}
Client::~Client() = default;

Response Client::open_file_address(const Url& url) {
  UniqueFd fd = corten::open_file(url.target, O_RDONLY | O_NONBLOCK);
  struct stat st;
  if (fstat(fd.get(), &st) != 0) fail_errno("stat {}", url.target);
  if (!S_ISREG(st.st_mode)) fail(ErrorCode::kInvalid, "{}: not a regular file", url.target);
  Response response;
  response.url = url.shown();
  response.size = static_cast<uint64_t>(st.st_size);
  response.body = std::make_unique<FileBody>(std::move(fd), url.target);
  return response;
}

TlsOptions Client::tls_for(const Url& url) const {
  return options_.tls ? options_.tls(url.authority()) : TlsOptions();
}

std::unique_ptr<Connection> Client::connect_to(const std::string& host, uint16_t port) {
  return options_.connector ? options_.connector(host, port) : connect_plain(host, port, options_.timeouts);
}

std::unique_ptr<Connection> Client::connect(const Url& url, const std::string& proxy) {
  if (proxy.empty()) {
    auto plain = connect_to(url.host, url.port);
    return url.scheme == "https" ? start_tls(std::move(plain), url.host, tls_for(url)) : std::move(plain);
  }
  Url way = parse_url(proxy);
  if (way.is_file()) fail(ErrorCode::kInvalid, "proxy {}: not an http address", quote(proxy));
  try {
    auto connection = connect_to(way.host, way.port);
    if (way.scheme == "https") connection = start_tls(std::move(connection), way.host, tls_for(way));
    if (url.scheme != "https") return connection;
    std::string host = (url.host.find(':') == std::string::npos ? url.host : "[" + url.host + "]") + ":" +
                       std::to_string(url.port);
    connection->write("CONNECT " + host + " HTTP/1.1\r\nHost: " + host + "\r\n" + proxy_credentials(way) +
                      "\r\n");
    beast::response_parser<beast::empty_body> parser;
    parser.skip(true);  // an answer to CONNECT has no body
    boost::beast::flat_buffer buffer(kMaxHeaderBytes);
    BeastStream stream{*connection};
    error_code ec;
    beast::read_header(stream, buffer, parser, ec);
    if (ec) fail(ErrorCode::kIo, "malformed answer: {}", ec.message());
    unsigned status = parser.get().result_int();
    if (status / 100 != 2) fail(code_of_status(status), "it answered {} to a request for {}", status, host);
    if (buffer.size() != 0) fail(ErrorCode::kFailed, "it sent bytes before the TLS handshake");
    return start_tls(std::move(connection), url.host, tls_for(url));
  } catch (Error& error) {
    error.add_context("proxy " + way.authority());
    throw;
  }
}

// A server may refuse before it has read the whole body, and close: what it said comes before the failure to
// send. So a failure is kept until there turns out to be no answer.
void Client::send(Exchange& exchange, const std::string& header, const Request& request,
                  const std::string& shown) {
  exchange.connection->write(header);
  if (!request.body || request.body->size == 0) return;
  auto from = request.body->open();
  std::string buffer(256 << 10, '\0');
  for (uint64_t left = request.body->size; left > 0;) {
    options_.cancellation.check();
    const size_t n = from->read(buffer.data(), std::min<uint64_t>(left, buffer.size()));
    if (n == 0) fail(ErrorCode::kCorrupt, "{}: {} bytes are missing of what is to be sent", shown, left);
    left -= n;
    try {
      exchange.connection->write({buffer.data(), n});
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kIo) throw;
      exchange.is_cut = true;
      return;
    }
  }
}

std::unique_ptr<Client::Exchange> Client::exchange(const Url& url, const Request& request) {
  std::string proxy = options_.proxies.proxy_for(url);
  bool is_absolute = !proxy.empty() && url.scheme == "http";
  std::string text = request.method + " " + (is_absolute ? url.shown() : url.target) +
                     " HTTP/1.1\r\nHost: " + url.authority() +
                     "\r\nUser-Agent: corten\r\nAccept-Encoding: identity\r\n";
  if (std::none_of(request.fields.begin(), request.fields.end(),
                   [](const auto& field) { return iequals(field.first, "Accept"); }))
    text += "Accept: */*\r\n";
  bool is_authorized = false;
  Fields fields = request.fields;
  fields.insert(fields.end(), request.own_fields.begin(), request.own_fields.end());
  for (const auto& [name, value] : fields) {
    if (value.find_first_of("\r\n") != std::string::npos)
      fail(ErrorCode::kInvalid, "{}: field {} has more than one line", url.shown(), name);
    text += name + ": " + value + "\r\n";
    is_authorized |= iequals(name, "Authorization");
  }
  if (request.body)
    text += fmt::format("Content-Length: {}\r\n", request.body->size);
  else if (request.method != "GET" && request.method != "HEAD" && request.method != "DELETE")
    text += "Content-Length: 0\r\n";
  if (!url.user_info.empty() && !is_authorized)
    text += "Authorization: Basic " + base64_encode(url.user_info) + "\r\n";
  if (is_absolute) text += proxy_credentials(parse_url(proxy));
  text += "\r\n";
  std::string key = url.scheme + "://" + url.authority();
  // What is long, or may have been done in part, is for whoever asked to send again.
  const bool is_repeated =
      !request.body || (request.method != "PATCH" && request.body->size <= kMaxRepeatedBody);
  while (true) {
    auto exchange = std::make_unique<Exchange>();
    exchange->key = key;
    do {
      exchange->connection = pool_->take(key);
    } while (exchange->connection && exchange->connection->is_closed());
    bool is_idle = exchange->connection != nullptr;
    try {
      if (!is_idle) exchange->connection = connect(url, proxy);
      send(*exchange, text, request, url.shown());
      if (request.method == "HEAD") exchange->parser.skip(true);
      if (exchange->read_header(url.shown(), options_.timeouts.silence_ms)) return exchange;
    } catch (const Error& error) {
      // Only a connection that was given up meanwhile says nothing of the server's state.
      const bool was_closed = error.system_errno() == EPIPE || error.system_errno() == ECONNRESET;
      if (!is_idle || !is_repeated || !was_closed) throw;
    }
    // A server may close an idle connection at any time; only a fresh one speaks for its state.
    if (!is_idle || !is_repeated) fail(ErrorCode::kIo, "{}: closed without an answer", url.shown());
  }
}

Response Client::open(const Request& wanted) {
  Request asked = wanted;
  const std::string address = parse_url(wanted.url).shown();
  Url url = parse_url(wanted.url);
  if (url.is_file()) return open_file_address(url);
  for (int redirects = 0;; redirects++) {
    options_.cancellation.check();
    auto exchange = this->exchange(url, asked);
    unsigned status = exchange->status();
    if (is_redirect(status) && !(asked.any_status && !asked.follows_redirects)) {
      std::string location = exchange->field(beast::field::location);
      if (location.empty()) fail(ErrorCode::kFailed, "{}: redirected without a place", url.shown());
      if (redirects >= options_.max_redirects)
        fail(ErrorCode::kFailed, "{}: more than {} redirects", address, options_.max_redirects);
      Url next = resolve_url(url, location);
      if (next.is_file())
        fail(ErrorCode::kPermission, "{}: redirected to {}, a file of this machine", url.shown(),
             next.shown());
      if (url.scheme == "https" && next.scheme == "http")
        fail(ErrorCode::kPermission, "{}: redirected to {}, which is not encrypted", url.shown(),
             next.shown());
      if (next.authority() != url.authority()) {
        next.user_info.clear();
        asked.own_fields.clear();
        std::erase_if(asked.fields, [](const auto& field) {
          return iequals(field.first, "Authorization") || iequals(field.first, "Cookie");
        });
      }
      if (status != 307 && status != 308 && asked.method != "GET" && asked.method != "HEAD") {
        asked.method = "GET";
        asked.body.reset();
      }
      // A short body is read, so that the connection can be used again; who sends a long one is left.
      Body body(std::move(exchange), pool_, url.shown(), options_);
      char rest[4096];
      try {
        for (int reads = 0; reads < 16 && body.read(rest, sizeof rest) > 0; reads++) {
        }
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kIo) throw;  // it has said where to go
      }
      url = std::move(next);
      continue;
    }
    bool is_unchanged = status == 304 && asked.is_conditional;
    if (status != 200 && !is_unchanged && !asked.any_status) {
      auto reason = exchange->parser.get().reason();
      fail(code_of_status(status), "{}: invalid response status {} {}", url.shown(), status,
           printable(std::string_view(reason.data(), reason.size())));
    }
    Response response;
    response.url = url.shown();
    response.status = status;
    response.content_encoding = exchange->field(beast::field::content_encoding);
    response.last_modified = exchange->field(beast::field::last_modified);
    if (auto length = exchange->parser.content_length()) response.size = *length;
    response.etag = exchange->field(beast::field::etag);
    response.content_type = exchange->field(beast::field::content_type);
    for (const auto& field : exchange->parser.get().base())
      response.fields.emplace_back(std::string(field.name_string()), std::string(field.value()));
    response.body = std::make_unique<Body>(std::move(exchange), pool_, url.shown(), options_);
    return response;
  }
}

void Client::with_retries(const std::function<void()>& attempt) {
  int pause_ms = options_.first_pause_ms;
  for (int left = options_.attempts;; left--) {
    try {
      return attempt();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kIo || left <= 1) throw;
    }
    for (int slept = 0; slept < pause_ms; slept += 50) {
      options_.cancellation.check();
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    pause_ms *= 2;
  }
}

std::string Client::get(const std::string& url, size_t max_bytes) {
  std::string bytes;
  with_retries([&] {
    Response response = open(url);
    if (response.size && *response.size > max_bytes)
      fail(ErrorCode::kInvalid, "{}: larger than {} bytes", response.url, max_bytes);
    bytes = archive::read_rest(*response.body, max_bytes);
  });
  return bytes;
}

uint64_t Client::get(const std::string& url, archive::ByteSink& to, uint64_t max_bytes) {
  uint64_t done = 0;
  with_retries([&] {
    try {
      Response response = open(url);
      char buffer[64 << 10];
      while (size_t n = response.body->read(buffer, sizeof buffer)) {
        if (n > max_bytes - done)
          fail(ErrorCode::kInvalid, "{}: larger than {} bytes", response.url, max_bytes);
        to.write({buffer, n});
        done += n;
      }
    } catch (const Error& error) {
      if (done == 0 || error.code() != ErrorCode::kIo) throw;
      throw Error(ErrorCode::kFailed, error.message());
    }
  });
  return done;
}

}  // namespace corten::http
