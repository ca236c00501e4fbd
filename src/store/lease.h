// What a running command needs of the store, written down so that nobody takes it away.
//
// A lease is a file, leases/ID, that its process holds locked (flock) as long as it lives, with a directory
// for what it is making, tmp/ID. Whoever wants to use something that may be there already first holds it (a
// record in the file), then looks. Who collects closes the gate for a moment, reads the leases to their end,
// and only then takes away what none of them names: so what was found after it was held stays. The reasons
// and the races are told in docs/decisions/0008-leases.md, the bytes in docs/formats/store.md.
//
// A lease outlives its process until nobody collects: what it named and then recorded in the index may be
// missing from an index that a collector read before.
#pragma once
#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/unique_fd.h"

namespace corten::store {

// What a record names; the byte in the file.
enum class Held : uint8_t { kLayer = 'l', kContent = 'c', kBlob = 'b', kMount = 'm', kGit = 'g' };

// Thread-safe. Costs nothing until something is held or made.
class Lease {
 public:
  explicit Lease(std::string root);
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  // From here on nobody takes it away, if it is there. Once held, always held; asking again is cheap.
  void hold(Held kind, const Digest& digest);
  void hold(Held kind, std::span<const Digest> digests);
  // tmp/ID, made when missing.
  std::string temporary();
  // Of the lock, once something was held or made.
  int lock_fd();
  // Gives everything up; to be called before a process goes on without the store.
  void end();
  // Of this lease's file; "" when there is none yet.
  std::string id();

 private:
  void open();  // with mutex_ held
  void write(std::string_view records);

  std::string root_;
  std::mutex mutex_;
  std::string id_;
  FileLock lock_;
  UniqueFd file_, gate_;
  int owner_ = 0;  // a forked child must not end what is its parent's
  bool ended_ = false;
  bool has_directory_ = false;
  uint64_t written_ = 0;
  using Record = std::pair<Held, Digest>;
  struct RecordHash {
    size_t operator()(const Record& record) const {
      size_t hash;
      std::memcpy(&hash, record.second.bytes().data(), sizeof hash);
      return hash + static_cast<size_t>(record.first);
    }
  };
  std::unordered_set<Record, RecordHash> held_;
};

// All that leases name, read again and again by who collects.
class LeasesRead {
 public:
  explicit LeasesRead(std::string root) : root_(std::move(root)) {}
  // Reads what was added since the last time, also to leases whose process is gone, and gives that.
  std::vector<std::pair<Held, Digest>> read();
  bool names(Held kind, const Digest& digest) const;
  const std::set<Digest>& of(Held kind) const;

 private:
  std::string root_;
  std::map<std::string, uint64_t> read_to_;
  std::map<Held, std::set<Digest>> named_;
};

// The gate, closed: while this lives nobody can hold anything anew. Keep it short, and never wait for the
// index while it is closed: who holds something may be in the middle of a transaction.
class ClosedGate {
 public:
  explicit ClosedGate(const std::string& root);

 private:
  FileLock lock_;
};

// Takes away what commands that are dead left in tmp/, and their leases if nobody collects. Where the ids of
// layers exist. Gives whether there was any.
bool sweep_dead_leases(const std::string& root);

// Of a directory of locks, one file a key and beside it the log of who leads: those that nobody holds.
void remove_unused_locks(const std::string& directory);

// Held by who collects; one at a time.
std::string collector_lock_path(const std::string& root);

}  // namespace corten::store
