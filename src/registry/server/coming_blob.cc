#include "registry/server/coming_blob.h"

#include <algorithm>

namespace corten::registry::serving {

// Changes it, and tells those who wait for that, without the lock.
void ComingBlob::change(const std::function<void()>& f) {
  std::vector<std::function<void()>> told;
  {
    std::lock_guard lock(mutex_);
    f();
    if (state_ != State::kAsked) told.swap(curious_);
    const auto rest = std::partition(waiting_.begin(), waiting_.end(), [&](const Waiting& waiting) {
      return ready_now(waiting.at, waiting.end) == 0;
    });
    for (auto at = rest; at != waiting_.end(); ++at) told.push_back(std::move(at->wake));
    waiting_.erase(rest, waiting_.end());
  }
  for (const auto& tell : told) tell();
}

void ComingBlob::begin(std::shared_ptr<const UniqueFd> file, uint64_t size) {
  change([&] {
    begun_ = {std::move(file), size};
    state_ = State::kComing;
  });
}

void ComingBlob::grow(uint64_t came) {
  change([&] { came_ = came; });
}

void ComingBlob::keep() {
  change([&] { state_ = State::kKept; });
}

void ComingBlob::lose(Answer answer) {
  change([&] {
    state_ = State::kLost;
    loss_ = std::move(answer);
  });
}

void ComingBlob::when_known(std::function<void()> known) {
  {
    std::lock_guard lock(mutex_);
    if (state_ == State::kAsked) {
      curious_.push_back(std::move(known));
      return;
    }
  }
  known();
}

std::optional<ComingBlob::Begun> ComingBlob::begun() const {
  std::lock_guard lock(mutex_);
  if (state_ != State::kComing) return std::nullopt;
  return begun_;
}

std::optional<Answer> ComingBlob::loss() const {
  std::lock_guard lock(mutex_);
  if (state_ != State::kLost) return std::nullopt;
  return loss_;
}

std::optional<uint64_t> ComingBlob::ready_now(uint64_t at, uint64_t end) const {
  if (state_ == State::kLost) return std::nullopt;
  if (state_ == State::kKept) return end - at;
  const uint64_t until = std::min(came_, end - 1);
  return until > at ? until - at : 0;
}

std::optional<uint64_t> ComingBlob::ready(uint64_t at, uint64_t end) const {
  std::lock_guard lock(mutex_);
  return ready_now(at, end);
}

void ComingBlob::when_ready(uint64_t at, uint64_t end, std::function<void()> wake) {
  {
    std::lock_guard lock(mutex_);
    if (ready_now(at, end) == 0) {
      waiting_.push_back({at, end, std::move(wake)});
      return;
    }
  }
  wake();
}

}  // namespace corten::registry::serving
