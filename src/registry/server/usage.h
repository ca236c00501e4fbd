// How much of the limit on the registry's size is used: counted at the start, then with each change.
//
// A request takes the bytes before it hands in the change that brings them: who does not get them is refused.
// Whether the change brings anything new shows as it is made (two requests may bring the same at one moment),
// and so it is settled there, on the journal's thread, where one comes after the other: Taken.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>

namespace corten::registry::serving {

// Thread-safe.
class Usage {
 public:
  explicit Usage(uint64_t limit) : limit_(limit) {}
  bool is_on() const { return limit_ > 0; }
  uint64_t limit() const { return limit_; }
  uint64_t used() const { return used_; }
  // Whether so much more fits; nothing is taken.
  bool has_room(uint64_t bytes) const {
    const uint64_t used = used_;
    return !is_on() || (used <= limit_ && bytes <= limit_ - used);
  }
  // False when it does not fit: nothing is taken then.
  bool take(uint64_t bytes) {
    if (!is_on()) return true;
    if (used_.fetch_add(bytes) + bytes <= limit_) return true;
    used_ -= bytes;
    return false;
  }
  void count(uint64_t bytes) { used_ += bytes; }
  void give_back(uint64_t bytes) {
    if (is_on()) used_ -= bytes;
  }

 private:
  const uint64_t limit_;
  std::atomic<uint64_t> used_ = 0;
};

// Bytes that were taken for a change: given back at the end, unless it was made. Not thread-safe.
class Taken {
 public:
  // Once made, `size` bytes lie at the change's target; so many of them count already.
  Taken(Usage& usage, uint64_t size, uint64_t counted) : usage_(usage), size_(size), counted_(counted) {}
  // Takes them, unless something is at the target `already`; nothing when they do not fit.
  static std::shared_ptr<Taken> take(Usage& usage, uint64_t size, bool already = false) {
    if (!usage.take(already ? 0 : size)) return nullptr;
    return std::make_shared<Taken>(usage, size, already ? 0 : size);
  }
  ~Taken() { usage_.give_back(counted_); }
  Taken(const Taken&) = delete;
  bool is_on() const { return usage_.is_on(); }
  // The change was made, over `before` bytes.
  void settle(uint64_t before) {
    if (is_on()) usage_.count(size_ - before - counted_);  // modulo 2^64: it may be fewer
    counted_ = 0;
  }

 private:
  Usage& usage_;
  const uint64_t size_;
  uint64_t counted_;
};

}  // namespace corten::registry::serving
