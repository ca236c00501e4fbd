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

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/digest.h"

namespace corten::source {

// One file of the store for each context directory (docs/formats.md, "Stat cache"). Thread-safe. What is
// damaged is not believed.
class StatCache {
 public:
  StatCache() = default;
  explicit StatCache(std::string file);
  std::optional<Digest> find(const std::string& path, const struct stat& st, int64_t now_ns) const;
  void remember(const std::string& path, const struct stat& st, const Digest& digest, int64_t hashed_at_ns);
  // Adds what is new to the file; what was not asked for stays. A file with many records that were overtaken
  // is written anew.
  void save();

 private:
  struct Record {
    uint64_t device = 0, inode = 0, size = 0;
    int64_t mtime_ns = 0, ctime_ns = 0, hashed_at_ns = 0;
    uint32_t mode = 0;
    Digest digest;
  };
  static Record record_of(const struct stat& st);
  static void put(std::string& to, std::string_view path, const Record& record);
  // Gives the records' bytes of the next block, and takes it off; nothing for one that is not whole.
  static std::optional<std::string_view> take_block(std::string_view& bytes);
  bool read_records(std::string_view body);
  void rewrite();

  std::string file_;
  std::string bytes_;  // of the file as it was; the keys of known_ point there
  std::unordered_map<std::string_view, Record> known_;  // as read, not changed afterwards
  size_t records_in_file_ = 0;
  bool is_whole_ = false;     // the file is there and undamaged
  mutable std::mutex mutex_;  // guards fresh_
  std::map<std::string, Record, std::less<>> fresh_;
  std::atomic<bool> has_fresh_ = false;
  bool is_changed_ = false;  // something fresh is not in the file
};

// Whether stat(2) can be believed on a file system of this kind (statfs(2), f_type).
bool has_stable_inodes(int64_t file_system);

}  // namespace corten::source
