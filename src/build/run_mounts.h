// The mounts of a RUN: what a Dockerfile asks for, as directories of this machine.
#pragma once
#include <deque>
#include <string>
#include <vector>

#include "base/temp_dir.h"
#include "build/cache_memory.h"
#include "build/run.h"
#include "store/borrowed.h"

namespace corten::build {

// The id of a secret's mount, or what it takes for one.
std::string secret_id(const dockerfile::Mount& mount);

// Holds what must live as long as the step: directories, locks, descriptors.
class RunMounts {
 public:
  RunMounts(const RunStep& step, const RunInputs& inputs, Executor& executor, int64_t layer_time,
            const std::string& scratch);

  // In the order of the Dockerfile.
  const std::vector<sandbox::Mount>& mounts() const { return mounts_; }
  // Variables that secrets and agents set; they win over the step's.
  const std::vector<std::pair<std::string, std::string>>& variables() const { return variables_; }
  // A directory that lies on top of the layers, with the files that appear at other times than their layer's;
  // "" when there is none.
  const std::string& restamped() const { return restamped_; }
  // Of the cache mounts: locks, and the notes that they are in use.
  std::vector<int> lock_fds() const;
  // When the step is over, and before its root is removed: moves home what is not, where mounts are moved.
  void take_back();
  // The times that were made up: a file that the step writes with one of them got it from there.
  const std::set<int64_t>& foreign_times_ns() const { return foreign_times_; }

 private:
  struct BindSource {
    std::shared_ptr<store::Manifest> manifest;  // of what is mounted; a single file is the entry "file"
    bool is_file = false;
    size_t mount = 0;
    RootfsPath target;
  };
  void add_secret(const dockerfile::Mount& mount);
  void add_ssh(const dockerfile::Mount& mount, size_t number);
  void add_tmpfs(const dockerfile::Mount& mount);
  void lock_caches();
  void add_cache(const MountUse& use, const MountSource& source);
  void add_bind(const dockerfile::Mount& mount, const MountSource& source);
  void remember_sources();
  void restamp_layers(const SeenTimes& times, const store::RootfsView& view);
  void place_binds(const SeenTimes& times);

  const RunStep& step_;
  const RunInputs& inputs_;
  Executor& executor_;
  int64_t layer_time_;
  std::string scratch_;
  std::vector<sandbox::Mount> mounts_;
  std::vector<std::pair<std::string, std::string>> variables_;
  std::string restamped_;
  std::set<int64_t> foreign_times_;
  std::vector<BindSource> binds_;
  std::map<std::string, FileLock> locks_;  // of cache mounts, by directory
  std::vector<UniqueFd> descriptors_;
  std::deque<source::SshAgentSocket> agents_;
  struct WritableCache {
    std::string directory, data;
  };
  std::vector<WritableCache> caches_;
  std::deque<CacheMemory> memories_;
  std::deque<store::Borrowed> borrowed_;
};

}  // namespace corten::build
