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
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>

#include "base/digest.h"

namespace corten::source {

// What stat(2) says of a file, as far as it tells that nothing changed.
struct FileStamp {
  FileStamp() = default;
  FileStamp(const struct stat& st);  // NOLINT(google-explicit-constructor): it is one, in fewer bytes

  uint64_t device = 0, inode = 0, size = 0;
  int64_t mtime_ns = 0, ctime_ns = 0;
  uint32_t mode = 0;
  bool operator==(const FileStamp&) const = default;
};

// One file of the store for each context directory (docs/formats, "Stat cache"). Thread-safe. What is
// damaged is not believed.
class StatCache {
 public:
  StatCache() = default;
  explicit StatCache(std::string file);
  // As the file had it: what this build remembered is for the next ones.
  std::optional<Digest> find(std::string_view path, const FileStamp& stamp, int64_t now_ns) const;
  void remember(std::string_view path, const FileStamp& stamp, const Digest& digest, int64_t hashed_at_ns);
  // Once, at the end. Adds what is new to the file; what was not asked for stays. A file with many records
  // that were overtaken is written anew.
  void save();

 private:
  struct Record {
    FileStamp stamp;
    int64_t hashed_at_ns = 0;
    Digest digest;
  };
  using Records = std::unordered_map<std::string_view, Record>;
  static void put(std::string& to, std::string_view path, const Record& record);
  // Gives the records' bytes of the next block, and takes it off; nothing for one that is not whole.
  static std::optional<std::string_view> take_block(std::string_view& bytes);
  void load();
  // Gives how many there were; the keys point into `body`. Nothing when it ends within one.
  static std::optional<size_t> read_records(std::string_view body, Records& into);
  void rewrite();

  std::string file_;
  std::string bytes_;  // of the file as it was; the keys of known_ point there
  Records known_;      // as read, not changed afterwards
  size_t records_in_file_ = 0;
  bool is_whole_ = false;  // the file is there and undamaged
  std::mutex mutex_;       // guards what is fresh
  std::string fresh_;      // records that are not in the file yet, as they will stand there
  size_t fresh_records_ = 0;
  std::atomic<bool> is_loaded_ = true;
  std::jthread loader_;  // reads the file while directories are read; the last member: it ends first
};

// Whether stat(2) can be believed on a file system of this kind (statfs(2), f_type).
bool has_stable_inodes(int64_t file_system);

}  // namespace corten::source
