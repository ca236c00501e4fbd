#include "store/limits.h"

#include <algorithm>
#include <chrono>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/strings.h"
#include "store/room.h"
#include "store/store.h"

namespace corten::store {

namespace {

constexpr std::chrono::milliseconds kLook{250};
constexpr int64_t kCountAgainNs = 30'000'000'000;

bool any_record(const CacheRecord&) {
  return true;
}

}  // namespace

uint64_t usual_min_free(uint64_t total_bytes) {
  return std::min<uint64_t>(total_bytes / 100, 256'000'000);
}

LimitKeeper::LimitKeeper(Store& store, const Limits& limits, std::function<void(const Error&)> refuse,
                         std::function<void(const Collected&)> said)
    : store_(store), limits_(limits), refuse_(std::move(refuse)), said_(std::move(said)) {
  FileSystemRoom room = room_of(store.path());
  min_free_ = limits.min_free_bytes.value_or(usual_min_free(room.total_bytes));
  if (auto known = store.known_bytes()) {
    counted_bytes_ = known->bytes;
    free_when_counted_ = known->free_when_counted;
    counted_at_ns_ = monotonic_ns();
  }
  thread_ = std::thread([this] { run(); });
}

LimitKeeper::~LimitKeeper() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void LimitKeeper::run() {
  std::unique_lock lock(mutex_);
  // A build that finds everything done is over by then, and needs no room.
  if (!limits_.max_bytes && !limits_.min_free_bytes) wake_.wait_for(lock, kLook, [&] { return stop_; });
  while (!stop_) {
    lock.unlock();
    std::optional<Error> wrong;
    try {
      wrong = look(false);
    } catch (const Error& error) {
      wrong = error;
    }
    if (wrong) refuse_(*wrong);
    lock.lock();
    if (wrong) return;
    wake_.wait_for(lock, kLook, [&] { return stop_; });
  }
}

std::string LimitKeeper::finish(bool has_written) {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
  if (!has_written) return "";
  auto wrong = look(true);
  return wrong ? fmt::format("{} ({})", wrong->what(), wrong->hint()) : "";
}

uint64_t LimitKeeper::count() {
  uint64_t bytes = store_.usage().limited();
  store_.set_known_bytes(bytes);
  counted_bytes_ = bytes;
  free_when_counted_ = room_of(store_.path()).free_bytes;
  counted_at_ns_ = monotonic_ns();
  return bytes;
}

std::optional<Error> LimitKeeper::look(bool is_exact) {
  uint64_t free = room_of(store_.path()).free_bytes;
  bool is_short = free < min_free_;
  bool is_large = false;
  if (limits_.max_bytes) {
    uint64_t filled = counted_bytes_ && free_when_counted_ > free ? free_when_counted_ - free : 0;
    is_large = !counted_bytes_ || *counted_bytes_ + filled > limits_.max_bytes;
    bool is_old = monotonic_ns() - counted_at_ns_ > kCountAgainNs;
    if (is_large || is_exact || is_old) is_large = count() > limits_.max_bytes;
  }
  if (!is_short && !is_large) return std::nullopt;
  if (!is_exact && monotonic_ns() < pause_until_ns_) return std::nullopt;
  // Some more than is needed, so that the next file does not ask for it again.
  int64_t began = monotonic_ns();
  CollectOptions options;
  options.may_go = any_record;
  if (is_large) options.max_bytes = limits_.max_bytes - limits_.max_bytes / 10;
  if (is_short) options.min_free_bytes = min_free_ + min_free_ / 10;
  Collected collected = Collector(store_).collect(options);
  pause_until_ns_ = monotonic_ns() + 4 * (monotonic_ns() - began);
  if (!collected.records.empty()) said_(collected);
  uint64_t now_bytes = limits_.max_bytes ? count() : 0;
  return shortage(collected, now_bytes);
}

std::optional<Error> LimitKeeper::shortage(const Collected& collected, uint64_t now_bytes) {
  FileSystemRoom room = described_room_of(store_.path());
  std::string why = fmt::format("running builds and containers need {} of it, images with names the rest",
                                human_size(collected.held_bytes));
  if (limits_.max_bytes && now_bytes > limits_.max_bytes)
    return Error(
               ErrorCode::kNoSpace,
               fmt::format("store {}: {} are more than its limit of {}, and nothing that may go is left: {}",
                           store_.path(), human_size(now_bytes), human_size(limits_.max_bytes), why))
        .with_hint(
            "raise the limit (--max-size, or max-size in the configuration file), or remove images: "
            "corten prune --all");
  if (room.free_bytes < min_free_)
    return Error(ErrorCode::kNoSpace,
                 fmt::format("store {}: {}, {} are to stay free, and nothing that may go is left",
                             store_.path(), room.describe(), human_size(min_free_)))
        .with_hint(
            "make room there, remove images (corten prune --all), or let less stay free: --min-free SIZE");
  return std::nullopt;
}

std::string shortage_hint(Store& store) {
  std::string text = "the store is on " + described_room_of(store.path()).describe();
  try {
    CollectOptions options;
    options.may_go = any_record;
    options.all = true;
    options.only_plan = true;
    uint64_t bytes = Collector(store).collect(options).bytes;
    text += bytes ? fmt::format("; 'corten prune --cache' would free {}", human_size(bytes))
                  : "; nothing that may go is left in it but images: corten prune --all";
  } catch (const Error&) {
    // What is wrong has been said; a store that cannot be read now has no more to say.
  }
  return text;
}

}  // namespace corten::store
