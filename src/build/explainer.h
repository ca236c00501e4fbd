// Finds the nearest earlier run of a step that missed, and says what differed.
//
// "Nearest" is looked for in the journals of earlier builds, those of the same context, Dockerfile and target
// first, the newest of them first: a step of the same stage with the same text; else of the same place in the
// stage; else the one with the most inputs in common. Journals are read when the first step misses, as many
// as it takes: a build of hits reads none.
#pragma once
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "build/journal.h"
#include "build/plan.h"
#include "build/why.h"
#include "store/store.h"

namespace corten::build {

// What makes two builds builds of the same thing.
struct BuildIdentity {
  std::string id;
  std::string name;  // the first tag, or the context
  std::string context, file, target;
};

// Thread-safe.
class Explainer {
 public:
  Explainer(store::Store& store, BuildIdentity identity) : store_(store), identity_(std::move(identity)) {}
  // `record` is the key's (KeyRecord::json()).
  Miss explain(const Step& step, const Digest& key, const Json& record);

 private:
  struct Past {
    store::BuildRecord build;
    bool is_same = false;  // of the same thing
    bool is_loaded = false;
    std::vector<JournalStep> steps;
  };
  struct Near {
    const Past* past = nullptr;
    const JournalStep* step = nullptr;
  };
  void find_builds();
  Near nearest(const Step& step, const Digest& key, const Json& record);

  store::Store& store_;
  BuildIdentity identity_;
  std::mutex mutex_;
  bool is_ready_ = false;
  std::deque<Past> builds_;
};

}  // namespace corten::build
