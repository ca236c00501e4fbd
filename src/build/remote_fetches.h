// What the ADDs of a plan name by address, fetched from the start of the build on, a few at a time: a step
// finds it there when its turn comes.
#pragma once
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "base/thread_pool.h"
#include "build/events.h"
#include "build/plan.h"

namespace corten::build {

class RemoteFetches {
 public:
  // Begins. `plan` and `sources` must outlive it. What has begun when it is destroyed is waited for: cancel
  // the sources first.
  RemoteFetches(const Plan& plan, Sources& sources);

  // Those of one step, by position. Throws what went wrong with one of them. Tells `events` what it waits
  // for. Thread-safe.
  std::map<size_t, RemoteTree> wait_for(const Step& step, Events& events);

 private:
  struct Fetch {
    std::promise<RemoteTree> promise;
    std::shared_future<RemoteTree> tree;
    std::string note;  // this and the next are guarded by mutex_
    uint64_t current = 0, total = 0;
  };

  std::mutex mutex_;
  std::map<std::pair<StepId, size_t>, Fetch> fetches_;
  std::optional<ThreadPool> pool_;  // last: its threads use the others
};

}  // namespace corten::build
