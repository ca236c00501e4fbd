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
  // While it lives vertices tell of caches; they have the ids from `first_id` on. A cache that is still being
  // read then tells nobody any more.
  class Shown {
   public:
    explicit Shown(BuildCaches& caches) : caches_(caches) {}
    ~Shown() { caches_.hide(); }
    Shown(const Shown&) = delete;
    Shown& operator=(const Shown&) = delete;

   private:
    BuildCaches& caches_;
  };
  [[nodiscard]] Shown show(build::Events& events, int first_id);
  // Repositories of the registry that may have layers which are not here.
  std::vector<std::string> repositories(const std::string& registry) const;
  // Waits for the exports, and tells. Error for one that does not ignore its errors.
  void finish();
  // What went wrong while caches were read; when the display is over.
  void print_warnings();

 private:
  struct Reading {
    int id = -1;
    bool is_over = false;
    std::string error;
  };
  std::shared_ptr<cache::Place> open(const cache::Spec& spec, bool is_written);
  std::shared_ptr<cache::Place> open_by_name(const std::string& name);
  void told(const std::string& place, const std::string& error);
  void hide();

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
