// --cache-from and --cache-to of a build: the places, what is told of them, and how much of the result's
// layers has to be here.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "build/events.h"
#include "build/solve.h"
#include "cache/spec.h"
#include "cache/travel.h"
#include "cli/registry_session.h"
#include "http/client.h"
#include "store/store.h"

namespace corten::cli {

// Reading begins when it is made. Thread-safe but for show() and finish().
class BuildCaches {
 public:
  struct Options {
    std::vector<cache::Spec> from, to;
    unsigned threads = 1;
    store::Owners owners = {};
    Cancellation cancellation = {};
  };
  BuildCaches(store::Store& store, RegistrySession& registry, Options options);
  ~BuildCaches();

  // Null without --cache-from and --cache-to.
  build::Caches* caches() { return travel_.get(); }
  // From now on vertices tell of caches; they have the ids from `first_id` on.
  void show(build::Events& events, int first_id);
  // Repositories of the registry that may have layers which are not here.
  std::vector<std::string> repositories(const std::string& registry) const;
  // Waits for the exports, and tells. Error for one that does not ignore its errors.
  void finish();

 private:
  struct Reading {
    int id = -1;
    bool is_over = false;
    std::string error;
  };
  std::shared_ptr<cache::Place> open(const cache::Spec& spec, bool is_written);
  std::shared_ptr<cache::Place> open_by_name(const std::string& name);
  void told(const std::string& place, const std::string& error);

  store::Store& store_;
  RegistrySession& registry_;  // that is written to
  // What is read can be done without: it is asked for less patiently, and given up with the build.
  Cancellation reading_;
  RegistrySession read_from_;
  Options options_;
  SystemClock clock_;
  std::unique_ptr<http::Client> http_;  // of buckets
  std::mutex mutex_;                    // guards what follows
  build::Events* events_ = nullptr;
  int next_id_ = 0;
  std::vector<std::string> warnings_;
  std::map<std::string, Reading> readings_;  // by place
  std::map<std::string, std::shared_ptr<cache::Place>> places_;
  std::shared_ptr<cache::Imports> imports_;
  std::unique_ptr<cache::Travel> travel_;
};

}  // namespace corten::cli
