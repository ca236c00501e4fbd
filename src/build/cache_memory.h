// What a cache mount remembers of the sources that were built beside it, so that make, ninja and cargo
// rebuild what changed and nothing else (DESIGN, "Time").
//
// A build tool compares the time of a source with the time of an object that it left in the cache. Layer
// times do not say when a source changed, so each writable cache mount keeps a record: for every path that
// the step can see outside the base image, the digest of what was there and the time at which this content
// first appeared to this mount. A path with other content than the record's, or a new one, appears *now*, and
// keeps that time until it changes again. The record is written before the step starts: a step that fails has
// still seen its sources.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/path.h"
#include "base/unique_fd.h"

namespace corten::build {

// What a step sees: path to the digest of type, content and link.
using SeenPaths = std::map<RootfsPath, Digest>;
// Times that differ from the layer's, nanoseconds.
using SeenTimes = std::map<RootfsPath, int64_t>;

class CacheMemory {
 public:
  // `directory` is the mount's in the store: data/ is what is mounted, `seen` the record, `users` a lock.
  explicit CacheMemory(std::string directory);

  // Compares with the record, writes the new one durably, and gives the times that differ from the layer's.
  // `is_empty`: nothing is in the mount, so everything is known as first seen. Holds the mount as in use
  // until destroyed; when another step is using it at the same time, or did since the record was written,
  // everything appears now.
  SeenTimes begin(const SeenPaths& paths, bool is_empty, int64_t now_ns);

  // Of what says that it is in use, once begin() was called; else -1.
  int use_fd() const { return in_use_.fd(); }

 private:
  struct Record {
    bool is_known = false;  // false: missing, damaged, or the mount was used by two at once
    std::map<RootfsPath, std::pair<Digest, int64_t>> paths;  // 0: the layer's time
    int64_t newest_ns = 0;
  };
  Record load() const;
  void save(const Record& record) const;

  std::string directory_;
  FileLock in_use_;
};

}  // namespace corten::build
