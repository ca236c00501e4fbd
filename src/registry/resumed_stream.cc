#include "registry/resumed_stream.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"

namespace corten::registry {

namespace {

// So much more than the last time makes a broken connection one of the network's moods, not the server's way.
constexpr uint64_t kProgress = 64 << 10;
constexpr int kMostConnections = 1000;
constexpr size_t kMaxShownBytes = 100;

// "bytes 100-199/200": the first byte's place.
std::optional<uint64_t> first_byte(const std::string& content_range) {
  if (!content_range.starts_with("bytes ")) return std::nullopt;
  auto value = parse_int(content_range.substr(6, content_range.find('-') - 6));
  return value && *value >= 0 ? std::optional<uint64_t>(*value) : std::nullopt;
}

}  // namespace

ResumedStream::ResumedStream(ResumedObject object) : ResumedStream(std::move(object), 0, UINT64_MAX) {}

ResumedStream::ResumedStream(ResumedObject object, uint64_t begin, uint64_t end)
    : object_(std::move(object)), end_(std::min(end, object_.size)), at_(begin), counted_(begin) {}

std::string ResumedStream::range() const {
  if (!has_ranges_) return {};
  if (end_ < object_.size) return fmt::format("bytes={}-{}", at_, end_ - 1);
  return at_ > 0 ? fmt::format("bytes={}-", at_) : "";
}

size_t ResumedStream::read(void* data, size_t size) {
  while (at_ < end_) {
    object_.cancellation.check();
    try {
      if (!body_) open();
      const size_t n = body_->read(data, static_cast<size_t>(std::min<uint64_t>(size, end_ - at_)));
      if (n == 0) fail(ErrorCode::kIo, "{}: cut after {} of {} bytes", object_.what, at_, end_);
      at_ += n;
      return n;
    } catch (const Error& error) {
      body_.reset();
      if (error.code() != ErrorCode::kIo || !error.hint().empty() || is_asking_) throw;
      if (at_ >= counted_ + kProgress) failures_ = 0;
      counted_ = at_;
      if (++failures_ >= object_.attempts || ++connections_ > kMostConnections) throw;
    }
    object_.pause(failures_);
  }
  return 0;
}

void ResumedStream::open() {
  const std::string wanted = range();
  is_asking_ = true;
  http::Response response = object_.ask(wanted);
  is_asking_ = false;
  if (response.status == 416 && !wanted.empty()) {
    has_ranges_ = false;
    return open();
  }
  if (response.status == 206) {
    if (first_byte(response.field("Content-Range")) != at_)
      fail(ErrorCode::kIo, "{}: bytes from {} on were asked for, these are {}", object_.what, at_,
           printable(response.field("Content-Range").substr(0, kMaxShownBytes)));
  } else if (response.status != 200) {
    fail(ErrorCode::kFailed, "{}: {} answered {}", object_.what, object_.where, response.status);
  } else if (response.size && *response.size != object_.size) {
    fail(ErrorCode::kCorrupt, "{}: {} has {} bytes of it, the manifest says {}", object_.what, object_.where,
         *response.size, object_.size);
  }
  body_ = std::move(response.body);
  char buffer[16 << 10];
  for (uint64_t skipped = response.status == 206 ? 0 : at_; skipped > 0;) {
    const size_t n = body_->read(buffer, static_cast<size_t>(std::min<uint64_t>(skipped, sizeof buffer)));
    if (n == 0) fail(ErrorCode::kIo, "{}: cut before byte {}", object_.what, at_);
    skipped -= n;
  }
}

}  // namespace corten::registry
