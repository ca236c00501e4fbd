// How much of the limit on the registry's size is used: counted at the start, then with each change.
#pragma once
#include <atomic>
#include <cstdint>

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

}  // namespace corten::registry::serving
