// A directory of this machine as a tree: what COPY and bind mounts take from a build context.
//
// Directories are read when somebody asks for what is in them, so a context of which one file is copied costs
// one file. Ignore rules hide paths. Owners are 0:0. Entries have no time of their own (the layer's is shown)
// unless `keep_times`. Files that git tracks are 0644 or 0755, directories that hold such files 0755.
#pragma once
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/clock.h"
#include "base/path.h"
#include "base/unique_fd.h"
#include "dockerfile/ignore.h"
#include "source/stat_cache.h"
#include "store/contents.h"
#include "store/tree.h"

namespace corten::source {

struct LocalContextOptions {
  std::vector<std::string> ignore;  // patterns
  bool keep_times = false;
  std::string stat_cache;  // a file; "": none
  unsigned threads = 1;

  // What tests hand in: the kind of a directory's file system (statfs(2), f_type), and the clock.
  std::function<int64_t(int directory)> file_system = {};
  const Clock* clock = nullptr;
};

// Thread-safe. A file that changes between hashing and ingesting is Error(kIo) with its name.
class LocalContext : public store::Tree {
 public:
  // Error(kNotFound) "path X not found" when the directory is missing.
  LocalContext(const HostPath& directory, const LocalContextOptions& options, store::Contents& contents);
  ~LocalContext() override;

  const store::Entry* find(const RootfsPath& path) const override;
  std::vector<const store::Entry*> list(const RootfsPath& directory) const override;
  void expect(const RootfsPath& directory) const override;
  // Of entries that this very tree gave: what it knows of them lies beside them.
  void compute_digests(std::span<const store::Entry* const> entries) const override;
  void ingest(std::span<const store::Entry* const> entries,
              const store::Manifest* known = nullptr) const override;

  const HostPath& directory() const { return directory_; }
  // Whether the ignore rules hide this path.
  bool is_ignored(const RootfsPath& path) const { return matcher_.is_ignored(path.str()); }
  const dockerfile::IgnoreMatcher& matcher() const { return matcher_; }
  void save_stat_cache() { stat_cache_.save(); }

 private:
  struct Node;
  struct Directory;
  Node* node_at(const RootfsPath& path) const;
  void read_directory(Node& node) const;
  std::vector<Node> scan(const Node& node) const;
  void enlist(Node& node, std::vector<Node> children) const;
  Digest hash(const Node& node) const;
  bool can_believe_stat(dev_t device, int directory) const;

  HostPath directory_;
  LocalContextOptions options_;
  dockerfile::IgnoreMatcher matcher_;
  store::Contents& contents_;
  UniqueFd root_fd_;
  std::unordered_set<std::string> tracked_;
  std::unordered_set<std::string> tracked_directories_;
  SystemClock system_clock_;
  mutable StatCache stat_cache_;
  mutable std::mutex mutex_;
  std::unique_ptr<Node> root_;
  mutable std::map<std::pair<dev_t, ino_t>, RootfsPath> first_names_;
  mutable std::mutex devices_mutex_;
  mutable std::map<dev_t, bool> stable_devices_;
};

}  // namespace corten::source
