#include "cli/store_limits.h"

#include <cerrno>

#include <fmt/core.h>

#include "base/strings.h"

namespace corten::cli {

namespace {

uint64_t size_of(const std::string& text, std::string_view name, ErrorCode code) {
  auto bytes = parse_decimal_size(text);
  if (!bytes)
    throw Error(code, fmt::format("{} {}: not a size", name, quote(text)))
        .with_hint("write it as 20GB or 512MiB");
  return *bytes;
}

}  // namespace

store::Limits store_limits(const std::string& max_size, const std::string& min_free,
                           const ConfigFile& config) {
  store::Limits limits;
  if (!max_size.empty())
    limits.max_bytes = size_of(max_size, "--max-size", ErrorCode::kUsage);
  else if (!config.max_size.empty())
    limits.max_bytes = size_of(config.max_size, config.path + ": max-size", ErrorCode::kInvalid);
  if (!min_free.empty())
    limits.min_free_bytes = size_of(min_free, "--min-free", ErrorCode::kUsage);
  else if (!config.min_free.empty())
    limits.min_free_bytes = size_of(config.min_free, config.path + ": min-free", ErrorCode::kInvalid);
  return limits;
}

KeptLimits::KeptLimits(store::Store& store, const store::Limits& limits, std::function<void()> stop)
    : store_(store) {
  keeper_ = std::make_unique<store::LimitKeeper>(
      store, limits,
      [this, stop = std::move(stop)](const Error& error) {
        {
          std::lock_guard lock(mutex_);
          refusal_ = error;
        }
        stop();
      },
      [this](const store::Collected& collected) {
        std::lock_guard lock(mutex_);
        freed_bytes_ += collected.bytes;
        freed_records_ += collected.records.size();
      });
}

std::string KeptLimits::finish(bool has_written) {
  std::string remark = keeper_->finish(has_written);
  std::lock_guard lock(mutex_);
  std::string text;
  if (freed_records_ > 0)
    text = fmt::format("kept the store below its limit: {} of the longest unused taken away, {} freed\n",
                       freed_records_, human_size(freed_bytes_));
  return remark.empty() ? text : text + "WARNING: " + remark + "\n";
}

void KeptLimits::explain(Error& error) {
  keeper_.reset();
  std::lock_guard lock(mutex_);
  if (refusal_ && error.code() == ErrorCode::kCancelled)
    error = *refusal_;
  else if (error.code() == ErrorCode::kNoSpace && error.hint().empty())
    error.set_hint(error.system_errno() == EMFILE || error.system_errno() == ENFILE
                       ? "raise the limit of open files: ulimit -n 4096"
                       : store::shortage_hint(store_));
}

}  // namespace corten::cli
