// Limits that hold while a build goes on: how large the store may get, and how much of its file system stays
// free.
//
// A thread looks four times a second, which is one statvfs(2): what the store took when it was last counted,
// and by how much the file system has filled since. Others may have filled it too, so when that is beyond the
// limit the store is counted; when it is still beyond, it is collected; and when that is not enough, because
// images with names and running builds need all that is left, the build is refused with the sizes.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "base/error.h"
#include "store/collector.h"

namespace corten::store {

class Store;

struct Limits {
  uint64_t max_bytes = 0;                  // of Usage::limited(); 0: none
  std::optional<uint64_t> min_free_bytes;  // of its file system; unset: usual_min_free(); 0: none
};

// A hundredth of the file system, 256 MB at most.
uint64_t usual_min_free(uint64_t total_bytes);

// Thread-safe.
class LimitKeeper {
 public:
  // `refuse` is called once, from the keeper's thread, with what is wrong. `said` tells people what went.
  LimitKeeper(Store& store, const Limits& limits, std::function<void(const Error&)> refuse,
              std::function<void(const Collected&)> said);
  ~LimitKeeper();

  // Looks once more, when something was written, and gives a remark if the store stays beyond its limit.
  std::string finish(bool has_written);

 private:
  void run();
  // Nothing when all is well.
  std::optional<Error> look(bool is_exact);
  uint64_t count();
  std::optional<Error> shortage(const Collected& collected, uint64_t now_bytes);

  Store& store_;
  Limits limits_;
  uint64_t min_free_ = 0;
  std::function<void(const Error&)> refuse_;
  std::function<void(const Collected&)> said_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::optional<uint64_t> counted_bytes_;
  uint64_t free_when_counted_ = 0;
  int64_t counted_at_ns_ = 0, pause_until_ns_ = 0;
  std::thread thread_;
};

// For an error of the kind kNoSpace: which file system, how much is free, and what prune would free.
std::string shortage_hint(Store& store);

}  // namespace corten::store
