// How bytes flow: from a ByteSource, pulled, or into a ByteSink, pushed. Everything that reads or writes
// archives, blobs and layers is made of these two, so that hashing, bounding and compressing are put around a
// stream without its maker knowing. None of them is thread-safe; each borrows what it is given and must not
// outlive it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/digest.h"

namespace corten::archive {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Gives 1..size bytes, or 0 at the end (and again 0 after it). Throws Error when the bytes cannot be had.
  virtual size_t read(void* data, size_t size) = 0;
};

class ByteSink {
 public:
  virtual ~ByteSink() = default;
  // Takes all of the bytes or throws Error.
  virtual void write(std::string_view bytes) = 0;
};

// Reads until `size` bytes or the end; gives how many.
size_t read_fully(ByteSource& from, void* data, size_t size);
// The whole rest as a string; Error(kInvalid) when it is longer than `max_bytes`.
std::string read_rest(ByteSource& from, size_t max_bytes);
// Both give how many bytes there were.
uint64_t copy_all(ByteSource& from, ByteSink& to);
uint64_t drain(ByteSource& from);

// A descriptor's bytes from its offset on. `what` names it in errors. Does not close it.
class FdSource : public ByteSource {
 public:
  FdSource(int fd, std::string what) : fd_(fd), what_(std::move(what)) {}
  size_t read(void* data, size_t size) override;

 private:
  int fd_;
  std::string what_;
};

// Bytes in memory; borrows them.
class StringSource : public ByteSource {
 public:
  explicit StringSource(std::string_view bytes) : rest_(bytes) {}
  size_t read(void* data, size_t size) override;

 private:
  std::string_view rest_;
};

// The next `limit` bytes of another source; less when that ends before.
class BoundedSource : public ByteSource {
 public:
  BoundedSource(ByteSource& from, uint64_t limit) : from_(from), rest_(limit) {}
  size_t read(void* data, size_t size) override;
  uint64_t remaining() const { return rest_; }

 private:
  ByteSource& from_;
  uint64_t rest_;
};

// Passes on at most `limit` bytes and throws Error(kCorrupt) "<what>: more than N bytes" when there are more:
// the guard against a decompression bomb.
class LimitedSource : public ByteSource {
 public:
  LimitedSource(ByteSource& from, uint64_t limit, std::string what)
      : from_(from), limit_(limit), what_(std::move(what)) {}
  size_t read(void* data, size_t size) override;

 private:
  ByteSource& from_;
  uint64_t limit_;
  uint64_t seen_ = 0;
  std::string what_;
};

// Gives some bytes that were read ahead, then the rest.
class PrefixedSource : public ByteSource {
 public:
  PrefixedSource(std::string prefix, ByteSource& rest) : prefix_(std::move(prefix)), rest_(rest) {}
  size_t read(void* data, size_t size) override;

 private:
  std::string prefix_;
  size_t used_ = 0;
  ByteSource& rest_;
};

// Hashes and counts what is read through it. digest() ends the hash.
class HashingSource : public ByteSource {
 public:
  explicit HashingSource(ByteSource& from) : from_(from) {}
  size_t read(void* data, size_t size) override;
  uint64_t size() const { return size_; }
  Digest digest() { return hash_.finish(); }

 private:
  ByteSource& from_;
  Sha256 hash_;
  uint64_t size_ = 0;
};

// A blob that must have this digest and size. Throws Error(kCorrupt) that names `what` as soon as there are
// more bytes than `size`, or at the end when size or digest differ: who has read 0 has read the right bytes,
// and only then.
class VerifyingSource : public ByteSource {
 public:
  VerifyingSource(ByteSource& from, const Digest& digest, uint64_t size, std::string what)
      : from_(from), expected_(digest), expected_size_(size), what_(std::move(what)) {}
  size_t read(void* data, size_t size) override;

 private:
  ByteSource& from_;
  Digest expected_;
  uint64_t expected_size_;
  std::string what_;
  Sha256 hash_;
  uint64_t size_ = 0;
  bool verified_ = false;
};

// Writes to a descriptor; does not close it.
class FdSink : public ByteSink {
 public:
  FdSink(int fd, std::string what) : fd_(fd), what_(std::move(what)) {}
  void write(std::string_view bytes) override;

 private:
  int fd_;
  std::string what_;
};

class StringSink : public ByteSink {
 public:
  void write(std::string_view bytes) override { bytes_ += bytes; }
  const std::string& bytes() const { return bytes_; }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// Hashes and counts what is written, and passes it on when there is a next sink. digest() ends the hash.
class HashingSink : public ByteSink {
 public:
  explicit HashingSink(ByteSink* next = nullptr) : next_(next) {}
  void write(std::string_view bytes) override;
  uint64_t size() const { return size_; }
  Digest digest() { return hash_.finish(); }

 private:
  ByteSink* next_;
  Sha256 hash_;
  uint64_t size_ = 0;
};

}  // namespace corten::archive
