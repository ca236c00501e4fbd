// File contents by digest: contents/ab/abcd...; written once, verified when written, never changed.
#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "archive/source.h"
#include "base/digest.h"
#include "base/unique_fd.h"
#include "store/lease.h"

namespace corten::store {

// For reading. A store that is used with fewer privileges than it was filled with can have files that nobody
// here may read: the error says what to do.
UniqueFd open_stored(const std::string& path);

// Thread-safe and safe among processes: a file appears whole, under its name, or not at all.
class Contents {
 public:
  Contents(std::string directory, Lease& lease);

  // Held from here on (lease.h), whether it is there or comes later. One that we may not read (its home is a
  // file of another id) is not there: it is written anew, and has its home here then.
  bool has(const Digest& digest) const;
  // The same for many at once; to be called before many are asked for one by one.
  void hold(std::span<const Digest> digests) const { lease_.hold(Held::kContent, digests); }
  // Without holding it: for those that have the store for themselves, or held it before.
  bool exists(const Digest& digest) const;
  // Error(kNotFound) when it is missing.
  UniqueFd open(const Digest& digest) const;
  std::string read(const Digest& digest, size_t max_bytes) const;
  std::string path(const Digest& digest) const;

  // For tests: whether files are made without a name; where a file system knows none such, they never are.
  static void allow_nameless_files(bool allow) { can_be_nameless_ = allow; }

  Digest add_bytes(std::string_view bytes);
  struct Added {
    Digest digest;
    uint64_t size = 0;
  };
  Added add_stream(archive::ByteSource& from);
  // Copies an open file (a reflink where the file system can). Reads the size from the descriptor.
  Added add_file(int fd, std::string_view what);
  // The bytes of an open file that exists() just denied, and whose digest somebody took. False, and nothing
  // is stored under it, when they are others: the file was changed.
  bool add_missing(int fd, const Digest& digest, std::string_view what);
  // A content has one home: its own file here, or a file of a directory body, which its name here then points
  // to. So nothing is written twice, and a file in a body has no second name that a process could count
  // (docs/decisions, "A content has one home"). `file` lies in the store, never changes again, and
  // `digest` must be right; another home is replaced.
  void set_home(const Digest& digest, const std::string& file);
  // Gives the content a name of its own again when its home is below that directory, which is to go.
  void leave_home(const Digest& digest, const std::string& directory);
  // Which contents live in which body, by the body's name. Reads every name here.
  using Homes = std::map<std::string, std::vector<Digest>>;
  Homes homes() const;

 private:
  class NewFile;
  void write(std::string_view bytes, const Digest& digest);
  void place(const std::string& temporary, const Digest& digest);
  std::string temporary_name();

  static inline std::atomic<bool> can_be_nameless_ = true;
  std::string directory_;
  Lease& lease_;
};

}  // namespace corten::store
