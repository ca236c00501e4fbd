// Where records of owners are: with the inode, or, for what carries none, in a table by inode and birth time
// (the number alone comes back: an apt-get install was seen to use 23 of them twice). Thread-safe.
#pragma once
#include <compare>
#include <map>
#include <mutex>
#include <optional>

#include "base/recorded_owner.h"

namespace corten::sandbox {

class OwnerRecords {
 public:
  // `name` is a path to the very inode of `fd` (a /proc/self/fd/N).
  std::optional<RecordedOwner> find(int fd, const char* name) const;
  // 0 or an errno.
  int record(int fd, const char* name, const RecordedOwner& owner);

 private:
  struct Key {
    uint64_t device, inode;
    int64_t birth_seconds;
    uint32_t birth_ns;
    auto operator<=>(const Key&) const = default;
  };
  static std::optional<Key> key_of(int fd, mode_t& mode);

  mutable std::mutex mutex_;
  std::map<Key, RecordedOwner> table_;
};

}  // namespace corten::sandbox
