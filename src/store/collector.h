// Collecting: what may go, in the order of its last use, while builds go on.
//
// 1. *Take stock*: all that lies in the store with its size, which manifests name which contents, and what
// the
//    index says (Stock). No lock but the collectors' own is held; builds go on writing.
// 2. *Choose*: roots are images, containers and living leases. What no root, no action and no row leads to
// goes
//    first; then records by last use, until the limits hold or all that may go has gone.
// 3. *Sweep*: rows, manifests, bodies, blobs, contents, in this order and in small portions. Before each
//    portion the gate is closed and the leases are read to their end: what somebody holds by now stays, with
//    all that it leads to. Things are renamed away under the gate and removed after it.
//
// A manifest goes before any content that only it names, so a layer that is found is found whole; a kill
// between leaves things that nothing leads to, which the next collection takes.
#pragma once
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "base/digest.h"
#include "store/manifest.h"

namespace corten::store {

class Store;

// What is cached, one by one: for people, and for who collects.
struct CacheRecord {
  enum class Kind {
    kStep,       // the memory of a step, with its layer
    kDirectory,  // a layer's directory: made again when a RUN stands on it
    kBlob,       // a layer's compressed form: made again when it is exported
    kMount,      // a cache mount
    kGit,        // what was fetched from a repository
    kImage,      // an image without a name
  };
  Kind kind = Kind::kStep;
  std::string id;           // hexadecimal; of a directory its name
  std::string description;  // the step, the mount's id
  int64_t created = 0, used = 0;
  uint64_t bytes = 0;                // on disk, what others share included
  bool shared = false;               // something else needs a part of it too
  bool in_use = false;               // a running command or a container needs it
  std::string parent;                // of a directory or a blob: the layer
  std::string sharing, owner, path;  // of a cache mount; the path is what is mounted
  // buildx's word for its kind: regular, exec.cachemount, source.git.checkout, source.http; ours beside.
  std::string type;
};

struct CollectOptions {
  // Of records, those that may go; unset: none, only what nothing leads to.
  std::function<bool(const CacheRecord&)> may_go;
  // True: all that may go. Else only as much as the limits ask for, the longest unused first.
  bool all = false;
  uint64_t max_bytes = 0;       // of what the store takes; 0: no limit
  uint64_t min_free_bytes = 0;  // of its file system; 0: no limit
  uint64_t reserved_bytes = 0;  // never go below, whatever the limits say
  std::set<Digest> images;      // these go, with their names
  bool only_plan = false;       // say what would go
};

struct Collected {
  std::vector<CacheRecord> records;  // what went, or would
  uint64_t bytes = 0;                // that were freed, or would be
  uint64_t total_before = 0;         // what the store took, containers and volumes not counted
  uint64_t held_bytes = 0;           // of it, what running commands and containers need
};

class Collector {
 public:
  explicit Collector(Store& store);
  // Waits for another collector to be done. Never for builds.
  Collected collect(const CollectOptions& options);
  // All records, the longest unused first.
  std::vector<CacheRecord> records();

 private:
  Store& store_;
};

}  // namespace corten::store
