#include "archive/source.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::archive {

namespace {
constexpr size_t kBufferBytes = 128 << 10;
}

size_t read_fully(ByteSource& from, void* data, size_t size) {
  size_t done = 0;
  while (done < size) {
    size_t count = from.read(static_cast<char*>(data) + done, size - done);
    if (count == 0) break;
    done += count;
  }
  return done;
}

std::string read_rest(ByteSource& from, size_t max_bytes) {
  std::string bytes;
  std::string buffer(std::min<size_t>(kBufferBytes, max_bytes == SIZE_MAX ? kBufferBytes : max_bytes + 1),
                     '\0');
  while (size_t count = from.read(buffer.data(), buffer.size())) {
    if (count > max_bytes - bytes.size()) fail(ErrorCode::kInvalid, "more than {} bytes", max_bytes);
    bytes.append(buffer.data(), count);
  }
  return bytes;
}

uint64_t copy_all(ByteSource& from, ByteSink& to) {
  auto buffer = std::make_unique_for_overwrite<char[]>(kBufferBytes);
  uint64_t total = 0;
  while (size_t count = from.read(buffer.get(), kBufferBytes)) {
    to.write({buffer.get(), count});
    total += count;
  }
  return total;
}

uint64_t drain(ByteSource& from) {
  auto buffer = std::make_unique_for_overwrite<char[]>(kBufferBytes);
  uint64_t total = 0;
  while (size_t count = from.read(buffer.get(), kBufferBytes)) total += count;
  return total;
}

size_t FdSource::read(void* data, size_t size) {
  for (;;) {
    ssize_t count = ::read(fd_, data, size);
    if (count >= 0) return static_cast<size_t>(count);
    if (errno != EINTR) fail_errno("read {}", what_);
  }
}

size_t StringSource::read(void* data, size_t size) {
  size_t count = std::min(size, rest_.size());
  if (count) memcpy(data, rest_.data(), count);
  rest_.remove_prefix(count);
  return count;
}

size_t BoundedSource::read(void* data, size_t size) {
  size_t want = static_cast<size_t>(std::min<uint64_t>(size, rest_));
  if (want == 0) return 0;
  size_t count = from_.read(data, want);
  rest_ -= count;
  return count;
}

size_t LimitedSource::read(void* data, size_t size) {
  size_t count = from_.read(data, size);
  seen_ += count;
  if (seen_ > limit_) fail(ErrorCode::kCorrupt, "{}: more than {} bytes", what_, limit_);
  return count;
}

size_t PrefixedSource::read(void* data, size_t size) {
  if (used_ == prefix_.size()) return rest_.read(data, size);
  size_t count = std::min(size, prefix_.size() - used_);
  if (count) memcpy(data, prefix_.data() + used_, count);
  used_ += count;
  return count;
}

size_t HashingSource::read(void* data, size_t size) {
  size_t count = from_.read(data, size);
  hash_.update(data, count);
  size_ += count;
  return count;
}

size_t VerifyingSource::read(void* data, size_t size) {
  if (verified_ || size == 0) return 0;
  size_t count = from_.read(data, size);
  size_ += count;
  if (size_ > expected_size_)
    fail(ErrorCode::kCorrupt, "{}: more than the {} bytes that its descriptor tells", what_, expected_size_);
  if (count > 0) {
    hash_.update(data, count);
    return count;
  }
  if (size_ != expected_size_)
    fail(ErrorCode::kCorrupt, "{}: {} bytes, its descriptor tells {}", what_, size_, expected_size_);
  Digest found = hash_.finish();
  if (found != expected_)
    fail(ErrorCode::kCorrupt, "{}: its digest is {}, must be {}", what_, found.to_string(),
         expected_.to_string());
  verified_ = true;
  return 0;
}

void FdSink::write(std::string_view bytes) {
  write_fully(fd_, bytes, what_);
}

void HashingSink::write(std::string_view bytes) {
  hash_.update(bytes);
  size_ += bytes.size();
  if (next_) next_->write(bytes);
}

}  // namespace corten::archive
