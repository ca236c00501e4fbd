#include "store/lease.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "store/borrowed.h"
#include "store/shelves.h"

namespace corten::store {

namespace {

constexpr size_t kRecordBytes = 33;  // the kind, the digest

std::string record_of(Held kind, const Digest& digest) {
  std::string record(1, static_cast<char>(kind));
  record.append(reinterpret_cast<const char*>(digest.bytes().data()), digest.bytes().size());
  return record;
}

std::string new_id() {
  std::array<uint8_t, 8> bytes;
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    fail_errno("get random bytes");
  return to_hex(bytes);
}

std::string gate_path(const std::string& root) {
  return root + "/leases/gate";
}

// The names of leases: all but the two locks that lie beside them.
bool is_lease(const std::string& name) {
  return name != "gate" && name != "collector";
}

}  // namespace

std::string collector_lock_path(const std::string& root) {
  return root + "/leases/collector";
}

Lease::Lease(std::string root) : root_(std::move(root)) {}

Lease::~Lease() {
  try {
    end();
  } catch (const Error&) {
    // What is left is a dead lease: the next command sweeps it.
  }
}

void Lease::open() {
  if (lock_.held() && !ended_) return;
  if (ended_) fail(ErrorCode::kInternal, "a lease is used after its end");
  id_ = new_id();
  // FileLock makes the file and makes sure that it is still there once it is locked.
  lock_ = FileLock::exclusive(root_ + "/leases/" + id_);
  file_ = open_file(root_ + "/leases/" + id_, O_WRONLY | O_APPEND);
  gate_ = open_file(gate_path(root_), O_RDONLY | O_CREAT, 0600);
  owner_ = getpid();
}

void Lease::write(std::string_view records) {
  while (flock(gate_.get(), LOCK_SH) != 0)
    if (errno != EINTR) fail_errno("lock {}", gate_path(root_));
  try {
    write_fully(file_.get(), records, root_ + "/leases/" + id_);
    written_ += records.size();
  } catch (...) {
    // A part of a record would shift all that follow.
    if (ftruncate(file_.get(), static_cast<off_t>(written_)) != 0) ended_ = true;
    flock(gate_.get(), LOCK_UN);
    throw;
  }
  flock(gate_.get(), LOCK_UN);
}

void Lease::hold(Held kind, const Digest& digest) {
  hold(kind, std::span(&digest, 1));
}

void Lease::hold(Held kind, std::span<const Digest> digests) {
  std::lock_guard lock(mutex_);
  std::string records;
  std::vector<Record> added;
  for (const Digest& digest : digests) {
    if (held_.contains({kind, digest})) continue;
    records += record_of(kind, digest);
    added.emplace_back(kind, digest);
  }
  if (records.empty()) return;
  open();
  write(records);
  held_.insert(added.begin(), added.end());
}

std::string Lease::temporary() {
  std::lock_guard lock(mutex_);
  open();
  std::string directory = root_ + "/tmp/" + id_;
  if (!has_directory_ && mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST)
    fail_errno("make directory {}", directory);
  has_directory_ = true;
  return directory;
}

std::string Lease::id() {
  std::lock_guard lock(mutex_);
  return id_;
}

int Lease::lock_fd() {
  std::lock_guard lock(mutex_);
  return lock_.fd();
}

void Lease::end() {
  std::lock_guard lock(mutex_);
  ended_ = true;
  if (!lock_.held()) return;
  bool is_ours = owner_ == getpid();
  if (is_ours) {
    // Emptied by those who made something; what somebody forgot goes with it.
    std::string directory = root_ + "/tmp/" + id_;
    if (rmdir(directory.c_str()) != 0 && errno != ENOENT) remove_tree(directory);
    FileLock collector;
    if (FileLock::try_exclusive(collector_lock_path(root_), collector))
      unlink((root_ + "/leases/" + id_).c_str());
  }
  file_.reset();
  gate_.reset();
  lock_.release();
}

std::vector<std::pair<Held, Digest>> LeasesRead::read() {
  std::vector<std::pair<Held, Digest>> fresh;
  for (const std::string& name : names_in(root_ + "/leases")) {
    if (!is_lease(name)) continue;
    std::string path = root_ + "/leases/" + name;
    UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!file && errno == ENOENT) continue;
    if (!file) fail_errno("open {}", path);
    uint64_t& from = read_to_[name];
    if (lseek(file.get(), static_cast<off_t>(from), SEEK_SET) < 0) fail_errno("seek {}", path);
    std::string bytes = read_all(file.get(), path);
    size_t whole = bytes.size() - bytes.size() % kRecordBytes;  // a record that a full disk cut is none
    for (size_t at = 0; at < whole; at += kRecordBytes) {
      std::array<uint8_t, 32> digest;
      std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(at) + 1, digest.size(), digest.begin());
      Held kind = static_cast<Held>(bytes[at]);
      if (named_[kind].insert(Digest(digest)).second) fresh.emplace_back(kind, Digest(digest));
    }
    from += whole;
  }
  return fresh;
}

const std::set<Digest>& LeasesRead::of(Held kind) const {
  static const std::set<Digest> kNone;
  auto found = named_.find(kind);
  return found == named_.end() ? kNone : found->second;
}

bool LeasesRead::names(Held kind, const Digest& digest) const {
  return of(kind).contains(digest);
}

ClosedGate::ClosedGate(const std::string& root) : lock_(FileLock::exclusive(gate_path(root))) {}

// A log too is removed under its lock: between a look at the lock's name and the removal somebody may take
// the lock and write the log. Who waits for the lock meanwhile sees that its file went (FileLock).
void remove_unused_locks(const std::string& directory) {
  constexpr std::string_view kLog = ".log";
  for (const std::string& name : names_in(directory)) {
    std::string path = directory + "/" + name;
    if (name.ends_with(kLog)) path.resize(path.size() - kLog.size());
    FileLock lock;
    if (!FileLock::try_exclusive(path, lock)) continue;
    unlink((path + std::string(kLog)).c_str());
    unlink(path.c_str());
  }
}

bool sweep_dead_leases(const std::string& root) {
  bool was_any = false;
  FileLock collector;
  std::set<std::string> living;
  for (const std::string& name : names_in(root + "/leases")) {
    if (!is_lease(name)) continue;
    std::string path = root + "/leases/" + name;
    FileLock lock;
    if (!FileLock::try_exclusive_unless_gone(path, lock) || !lock.held()) {
      living.insert(name);
      continue;
    }
    was_any = true;
    if (!rescue(root + "/tmp/" + name)) {
      living.insert(name);
      continue;
    }
    remove_tree(root + "/tmp/" + name);
    if (!collector.held() && !FileLock::try_exclusive(collector_lock_path(root), collector)) continue;
    unlink(path.c_str());
  }
  // Of a lease whose file went and whose directory did not (a machine that went down).
  for (const std::string& name : names_in(root + "/tmp"))
    if (!living.contains(name) && !path_exists(root + "/leases/" + name)) {
      was_any = true;
      if (rescue(root + "/tmp/" + name)) remove_tree(root + "/tmp/" + name);
    }
  return was_any;
}

}  // namespace corten::store
