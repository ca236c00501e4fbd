#include <openssl/err.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/error.h"
#include "registry/server/channel.h"

namespace corten::registry::serving {

namespace {

std::string library_words() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = code ? ERR_reason_error_string(code) : nullptr;
  return reason ? reason : "unknown";
}

class TlsChannel : public Channel {
 public:
  TlsChannel(SSL_CTX* context, int socket) : ssl_(SSL_new(context), SSL_free) {
    if (!ssl_ || SSL_set_fd(ssl_.get(), socket) != 1) fail(ErrorCode::kInternal, "TLS: {}", library_words());
    SSL_set_accept_state(ssl_.get());  // the handshake is part of the first read
  }

  Moved read(void* data, size_t size) override {
    size_t n = 0;
    ERR_clear_error();
    const int result = SSL_read_ex(ssl_.get(), data, size, &n);
    return moved(result, n);
  }
  Moved write(std::string_view bytes, bool) override {
    size_t n = 0;
    ERR_clear_error();
    const int result = SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &n);
    return moved(result, n);
  }
  Moved send_file(int file, uint64_t offset, size_t size) override {
    std::array<char, 16 << 10> buffer;  // one record
    const ssize_t n = pread(file, buffer.data(), std::min(size, buffer.size()), static_cast<off_t>(offset));
    if (n <= 0) return {Moved::State::kBroken, 0};
    return write({buffer.data(), static_cast<size_t>(n)}, false);
  }
  void end_writing() override { SSL_shutdown(ssl_.get()); }
  bool has_read_ahead() const override { return SSL_has_pending(ssl_.get()) == 1; }

 private:
  Moved moved(int result, size_t n) {
    if (result == 1) return {Moved::State::kSome, n};
    switch (SSL_get_error(ssl_.get(), result)) {
      case SSL_ERROR_WANT_READ:
        return {Moved::State::kWantRead, 0};
      case SSL_ERROR_WANT_WRITE:
        return {Moved::State::kWantWrite, 0};
      case SSL_ERROR_ZERO_RETURN:
        return {Moved::State::kEnd, 0};
      default:
        return {Moved::State::kBroken, 0};
    }
  }
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl_;
};

}  // namespace

struct TlsContext::Library {
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context{SSL_CTX_new(TLS_server_method()), SSL_CTX_free};
};

TlsContext::TlsContext(const std::string& certificate, const std::string& key)
    : library_(std::make_unique<Library>()) {
  SSL_CTX* context = library_->context.get();
  if (!context) fail(ErrorCode::kInternal, "TLS: {}", library_words());
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  // Buffers of idle connections are given back: there may be thousands.
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1)
    fail(ErrorCode::kInvalid, "certificate {}: {}", certificate, library_words());
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1)
    fail(ErrorCode::kInvalid, "key {}: {}", key, library_words());
  if (SSL_CTX_check_private_key(context) != 1)
    fail(ErrorCode::kInvalid, "key {} is not that of certificate {}", key, certificate);
}
TlsContext::~TlsContext() = default;

std::unique_ptr<Channel> TlsContext::channel(int socket) const {
  return std::make_unique<TlsChannel>(library_->context.get(), socket);
}

}  // namespace corten::registry::serving
