#include "build/remote_fetches.h"

namespace corten::build {

RemoteFetches::RemoteFetches(const Plan& plan, Sources& sources) {
  constexpr unsigned kAtOnce = 6;
  for (const Step& step : plan.steps) {
    const auto* copy = std::get_if<CopyStep>(&step.work);
    if (!copy) continue;
    for (const auto& [position, source] : copy->remotes) {
      Fetch& mine = fetches_[{step.id, position}];
      mine.tree = mine.promise.get_future().share();
      if (!pool_) pool_.emplace(kAtOnce);
      pool_->submit([this, &source = source, &mine, &sources] {
        try {
          FetchWatch watch;
          watch.note = [&](std::string_view text) {
            std::lock_guard lock(mutex_);
            mine.note = text;
            mine.current = mine.total = 0;
          };
          watch.progress = [&](uint64_t current, uint64_t total) {
            std::lock_guard lock(mutex_);
            mine.current = current;
            mine.total = total;
          };
          mine.promise.set_value(sources.remote(source, watch));
        } catch (...) {
          mine.promise.set_exception(std::current_exception());
        }
      });
    }
  }
}

std::map<size_t, RemoteTree> RemoteFetches::wait_for(const Step& step, Events& events) {
  std::map<size_t, RemoteTree> trees;
  for (const auto& [position, source] : std::get<CopyStep>(step.work).remotes) {
    Fetch& fetch = fetches_.at({step.id, position});
    std::string told;
    Amount amount;
    while (fetch.tree.wait_for(std::chrono::milliseconds(100)) != std::future_status::ready) {
      Amount now = [&] {
        std::lock_guard lock(mutex_);
        return Amount{fetch.note, fetch.current, fetch.total, false};
      }();
      if (now.what != told) events.note(step.id, told = now.what);
      if (now.current != amount.current) events.progressed(step.id, amount = now);
    }
    if (amount.current) {
      std::lock_guard lock(mutex_);
      events.progressed(step.id, {amount.what, fetch.current, fetch.total, true});
    }
    if (!told.empty()) events.note(step.id, "");
    trees[position] = fetch.tree.get();
  }
  return trees;
}

}  // namespace corten::build
