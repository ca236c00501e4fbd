// Digests of context files, remembered by what stat(2) says, as git's index does.
//
// A file is believed unchanged when device, inode, size, mode, mtime and ctime are what they were, and both
// times lay at least two seconds before the digest was made: a file that was written in the same tick as it
// was hashed may change once more without a trace. A digest that was made later than now is not believed
// either: the clock was set back, and may pass the same ticks again.
//
// All of this needs a file system whose inode numbers mean something and whose times are our clock's. Of
// those that make numbers up (FUSE, 9p, FAT, shared folders of virtual machines) or live elsewhere (NFS, SMB,
// Ceph, AFS), every file is read each time.
#pragma once
#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "base/digest.h"

namespace corten::source {

// One file of the store for each context directory. Thread-safe. A damaged file is an empty cache.
class StatCache {
 public:
  StatCache() = default;
  explicit StatCache(std::string file);
  std::optional<Digest> find(const std::string& path, const struct stat& st, int64_t now_ns) const;
  void remember(const std::string& path, const struct stat& st, const Digest& digest, int64_t hashed_at_ns);
  // Writes it when something was added; paths that were not asked for since it was read are kept.
  void save();

 private:
  struct Record {
    uint64_t device = 0, inode = 0, size = 0;
    int64_t mtime_ns = 0, ctime_ns = 0, hashed_at_ns = 0;
    uint32_t mode = 0;
    Digest digest;
  };
  static Record record_of(const struct stat& st);

  std::string file_;
  mutable std::mutex mutex_;
  std::map<std::string, Record> records_;
  bool changed_ = false;
};

// Whether stat(2) can be believed on a file system of this kind (statfs(2), f_type).
bool has_stable_inodes(int64_t file_system);

}  // namespace corten::source
