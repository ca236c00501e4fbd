// The bytes of something on a server, or a part of them, through as many connections as it takes: what was
// cut, stalled or truncated goes on by Range (RFC 9110, section 14) where it stood. A server that knows no
// ranges sends all again, and what is known is skipped.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "archive/source.h"
#include "base/thread_pool.h"
#include "http/client.h"

namespace corten::registry {

struct ResumedObject {
  std::string what;   // for errors: "blob sha256:..."
  std::string where;  // "registry.example.com"
  uint64_t size = 0;  // of all of it
  // A GET with this Range ("" for none) after the usual retries: 200, 206, or 416. What it throws is final.
  std::function<http::Response(const std::string& range)> ask;
  std::function<void(int failures)> pause;  // before it is asked for again
  int attempts = 5;                         // in a row without progress
  Cancellation cancellation = {};
};

class ResumedStream : public archive::ByteSource {
 public:
  explicit ResumedStream(ResumedObject object);
  // From `begin` to before `end`.
  ResumedStream(ResumedObject object, uint64_t begin, uint64_t end);
  // Error(kIo) when the network does not let it through, kCorrupt when the server has another size of it.
  size_t read(void* data, size_t size) override;

 private:
  void open();
  std::string range() const;

  const ResumedObject object_;
  const uint64_t end_;
  std::unique_ptr<archive::ByteSource> body_;
  uint64_t at_, counted_;
  int failures_ = 0, connections_ = 0;
  bool is_asking_ = false, has_ranges_ = true;
};

}  // namespace corten::registry
