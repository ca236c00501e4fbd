// The limits of the store as people set them, kept while a build goes on.
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/error.h"
#include "cli/config_file.h"
#include "store/limits.h"
#include "store/store.h"

namespace corten::cli {

// A flag's word wins over the configuration's; "" is not given, "0" is none. Error(kUsage) or Error(kInvalid)
// for what is no size.
store::Limits store_limits(const std::string& max_size, const std::string& min_free,
                           const ConfigFile& config);

// Keeps them until it ends; `stop` is called when the store cannot be kept below them.
class KeptLimits {
 public:
  KeptLimits(store::Store& store, const store::Limits& limits, std::function<void()> stop);
  // What went and what is still wrong, for people; "" when there is nothing to say. `has_written`: whether
  // the build put anything into the store.
  std::string finish(bool has_written);
  // The refusal takes the place of the cancellation that it caused; an error of a full disk says what would
  // make room.
  void explain(Error& error);

 private:
  store::Store& store_;
  std::mutex mutex_;
  std::optional<Error> refusal_;
  uint64_t freed_bytes_ = 0;
  size_t freed_records_ = 0;
  std::unique_ptr<store::LimitKeeper> keeper_;
};

}  // namespace corten::cli
