// Servers that say what an input holds, and what must hold of a client's errors.
//
// An input is the answers in the order of the requests, whichever connections these come by; a byte 1E ends
// one. When there are no more, nobody listens.
#pragma once
#include <algorithm>
#include <list>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "fuzz/fuzz.h"
#include "http/client.h"
#include "registry/retry.h"

namespace corten::fuzz {

inline constexpr const char* kSecret = "5ecre7-5ecre7";
inline constexpr registry::RetryRules kAtOnce = {
    .attempts = 2, .first_pause_ms = 0, .longest_pause_ms = 0, .longest_wait_s = 0};

class Script {
 public:
  explicit Script(std::string_view input) : rest_(input) {}

  http::ClientOptions options() {
    http::ClientOptions options{.proxies = {}, .attempts = 1, .first_pause_ms = 0};
    options.connector = [this](const std::string& host, uint16_t port) -> std::unique_ptr<http::Connection> {
      if (rest_.empty()) fail(ErrorCode::kIo, "{}: nobody listens there", host);
      heard_.push_back({host + ":" + std::to_string(port), ""});
      return std::make_unique<Server>(*this, heard_.back().second);
    };
    return options;
  }
  // By another than `host`.
  bool is_heard_elsewhere(const std::string& text, const std::string& host) const {
    return std::any_of(heard_.begin(), heard_.end(), [&](const auto& connection) {
      return connection.first != host && connection.second.find(text) != std::string::npos;
    });
  }

 private:
  // Begins an answer when it is read from after it was written to, and closes the connection behind it
  // unless something else was asked by then.
  class Server : public http::Connection {
   public:
    Server(Script& script, std::string& heard) : script_(script), heard_(heard) {}
    size_t read(void* data, size_t size) override {
      if (std::exchange(is_asked_, false)) answer_ = script_.next();
      const size_t count = answer_.copy(static_cast<char*>(data), std::min(size, size_t{1} + piece_++ % 700));
      answer_.remove_prefix(count);
      return count;
    }
    void write(std::string_view bytes) override {
      heard_ += bytes;
      is_asked_ = true;
    }

   private:
    Script& script_;
    std::string& heard_;
    std::string_view answer_;
    bool is_asked_ = false;
    size_t piece_ = 0;
  };
  std::string_view next() {
    const size_t end = std::min(rest_.find('\x1e'), rest_.size());
    const std::string_view words = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    return words;
  }

  std::string_view rest_;
  std::list<std::pair<std::string, std::string>> heard_;  // by whom, what
};

// Of a known code, without the secret.
inline void check_error(const Error& error) {
  for (ErrorCode code :
       {ErrorCode::kInvalid, ErrorCode::kNotFound, ErrorCode::kPermission, ErrorCode::kIo, ErrorCode::kFailed,
        ErrorCode::kCorrupt, ErrorCode::kUnsupported, ErrorCode::kNoSpace, ErrorCode::kExists})
    if (error.code() == code) {
      const std::string shown = error.what() + ("\n" + error.hint());
      REQUIRE(is_terminal_text(printable(shown)));
      REQUIRE(shown.find(kSecret) == std::string::npos);
      return;
    }
  broken(error.what(), "an error of this code is not expected", static_cast<int>(error.code()));
}

// One of an input.
inline std::string answer(const std::string& status, const std::string& body,
                          const std::string& fields = {}) {
  return fmt::format("HTTP/1.1 {}\r\n{}Content-Length: {}\r\n\r\n{}\x1e", status, fields, body.size(), body);
}

}  // namespace corten::fuzz
