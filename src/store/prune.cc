// What people take away: images, what is cached, or the whole store.
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/core.h>

#include <set>

#include "base/beneath.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "store/room.h"
#include "store/shelves.h"
#include "store/stock.h"
#include "store/store.h"

namespace corten::store {

// Waits a while for commands that use the store, and says what it waits for when they go on. Gives none as
// soon as it is needless; then no lock is held.
FileLock Store::exclusive_lock(const std::function<bool()>& is_needless) {
  constexpr int64_t kPatienceNs = 30'000'000'000;
  lock_.release();
  constexpr int64_t kSilentNs = 2'000'000'000;
  FileLock exclusive;
  bool is_told = false;
  for (int64_t began = monotonic_ns(); !FileLock::try_exclusive(path_ + "/lock", exclusive);) {
    if (is_needless && is_needless()) return {};
    if (monotonic_ns() - began > kPatienceNs) {
      lock_ = FileLock::shared(path_ + "/lock");
      throw Error(ErrorCode::kExists, fmt::format("store {}: another command uses it", path_))
          .with_hint("wait for running builds, or stop them; 'corten ps' lists containers");
    }
    if (!is_told && monotonic_ns() - began > kSilentNs) {
      is_told = true;
      if (on_wait_) on_wait_(fmt::format("waiting for other commands that use the store {}", path_));
    }
    usleep(20'000);
  }
  return exclusive;
}

void Store::clean_temporary() {
  if (sweep_dead_leases(path_)) forget_known_bytes();
}

Store::Pruned Store::prune(const PruneOptions& options) {
  Pruned pruned;
  std::set<Digest> kept(options.in_use.begin(), options.in_use.end());
  CollectOptions wanted = options.collect;
  if (options.images) {
    for (const ImageIndex& index : indexes()) {
      if (index.tags.empty() || options.all_images) {
        pruned.deleted.push_back(index.tags.empty() ? index.id.to_string() : index.tags.front());
        if (!wanted.only_plan) delete_index(index.id);
        continue;
      }
      for (const ImageIndex::Member& member : index.members) kept.insert(member.image);
    }
    for (const Image& image : images()) {
      if (kept.contains(image.id) || (!image.tags.empty() && !options.all_images)) continue;
      pruned.deleted.push_back(image.tags.empty() ? image.id.to_string() : image.tags.front());
      wanted.images.insert(image.id);
    }
  }
  pruned.collected = Collector(*this).collect(wanted);
  for (const CacheRecord& record : pruned.collected.records)
    if (record.kind == CacheRecord::Kind::kMount)
      pruned.deleted.push_back("cache mount " + record.description);
  if (wanted.only_plan) return pruned;
  remove_unused_locks(path_ + "/locks");
  if (options.lists)
    for (const std::string& name : names_in(path_ + "/lists")) unlink((path_ + "/lists/" + name).c_str());
  return pruned;
}

void Store::destroy() {
  FileLock exclusive = exclusive_lock();
  lease_->end();
  layers_.reset();
  contents_.reset();
  database_.reset();
  for (const std::string& name : names_in(path_))
    if (name != "lock") remove_tree(path_ + "/" + name);
  remove_tree(path_ + "/lock");
  if (rmdir(path_.c_str()) != 0 && errno != EBUSY && errno != ENOTEMPTY && errno != EACCES && errno != EPERM)
    fail_errno("remove {}", path_);
}

Usage Store::usage() {
  Usage usage;
  std::set<std::pair<dev_t, ino_t>> seen;
  auto bytes = [&](const char* name) { return disk_bytes(path_ + "/" + name, seen); };
  usage.contents = bytes("contents");
  usage.bodies = bytes("dirs");
  usage.layers = bytes("layers");
  usage.blobs = bytes("blobs");
  usage.cache_mounts = bytes("mounts");
  usage.containers = bytes("containers");
  usage.index = bytes("index.db") + bytes("index.db-wal") + bytes("locks") + bytes("leases");
  usage.other = bytes("git") + bytes("builds") + bytes("tmp") + bytes("stat") + bytes("lists");
  return usage;
}

// Facts of the index: "bytes" is "BYTES FREE", what the store took when it was last counted, and what its
// file system had free then.
std::optional<Store::KnownBytes> Store::known_bytes() {
  std::vector<std::string> words = split_words(fact("bytes"));
  if (words.size() != 2) return std::nullopt;
  auto bytes = parse_int(words[0]), free = parse_int(words[1]);
  if (!bytes || !free) return std::nullopt;
  return KnownBytes{static_cast<uint64_t>(*bytes), static_cast<uint64_t>(*free)};
}

void Store::set_known_bytes(uint64_t bytes) {
  try {
    set_fact("bytes", fmt::format("{} {}", bytes, room_of(path_).free_bytes));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNoSpace) throw;  // it is counted again
  }
}

void Store::forget_known_bytes() {
  if (!fact("bytes").empty()) set_fact("bytes", "");
}

}  // namespace corten::store
