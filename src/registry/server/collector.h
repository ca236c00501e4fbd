// Garbage collection while the registry serves.
//
// What is needed: the blobs that a repository's manifests name, each blob that a repository has. Everything
// else goes once nobody has made or used it for the time of grace. A client that asks whether a blob is there
// and then pushes a manifest over it is safe: asking marks the blob (Tree::use), pushing does so again, and a
// removal looks at the mark under a lock at the last moment (Tree::remove_if_unused). So nothing has to stop.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "registry/server/journal.h"
#include "registry/server/tree.h"
#include "registry/server/uploads.h"
#include "registry/server/usage.h"

namespace corten::registry::serving {

struct CollectorOptions {
  int64_t every_s = 3600;       // 0: never
  int64_t grace_s = 24 * 3600;  // how long what nobody needs is kept, uploads that do not go on too
};

struct Collected {
  uint64_t files = 0;
};

// All the repositories that have something, sorted.
std::vector<std::string> repositories_of(const Tree& tree);

class Collector {
 public:
  // `after` is told of each round, on the collector's thread.
  Collector(Tree& tree, Journal& journal, Uploads& uploads, Usage& usage, CollectorOptions options,
            std::function<void(const Collected&)> after, std::function<void(const std::exception&)> failed);
  ~Collector();
  // One round, now. `now_s`: the wall clock.
  Collected collect(int64_t now_s);

 private:
  void work();
  uint64_t collect_links(const std::string& repository, int64_t before_s);
  uint64_t collect_uploads(const std::string& repository, int64_t before_s);
  uint64_t collect_contents(const std::vector<std::string>& repositories, int64_t before_s);

  Tree& tree_;
  Journal& journal_;
  Uploads& uploads_;
  Usage& usage_;
  const CollectorOptions options_;
  const std::function<void(const Collected&)> after_;
  const std::function<void(const std::exception&)> failed_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace corten::registry::serving
