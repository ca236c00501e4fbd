// What may go: everything that no image, no action that is kept, and no container leads to.
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/core.h>

#include <set>

#include "base/beneath.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/path.h"
#include "store/shelves.h"
#include "store/store.h"

namespace corten::store {

namespace {

uint64_t disk_bytes(const std::string& path, std::set<std::pair<dev_t, ino_t>>& seen) {
  struct stat st;
  if (lstat(path.c_str(), &st) != 0) return 0;
  if (st.st_nlink > 1 && !S_ISDIR(st.st_mode) && !seen.emplace(st.st_dev, st.st_ino).second) return 0;
  uint64_t sum = static_cast<uint64_t>(st.st_blocks) * 512;
  if (S_ISDIR(st.st_mode))
    for (const std::string& name : names_in(path)) sum += disk_bytes(path + "/" + name, seen);
  return sum;
}

}  // namespace

// Waits a while for commands that use the store, and says what it waits for when they go on.
FileLock Store::exclusive_lock() {
  constexpr int64_t kPatienceNs = 30'000'000'000;
  lock_.release();
  FileLock exclusive;
  for (int64_t began = monotonic_ns(); !FileLock::try_exclusive(path_ + "/lock", exclusive);) {
    if (monotonic_ns() - began > kPatienceNs) {
      lock_ = FileLock::shared(path_ + "/lock");
      throw Error(ErrorCode::kExists, fmt::format("store {}: another command uses it", path_))
          .with_hint("wait for running builds, or stop them; 'corten ps' lists containers");
    }
    usleep(20'000);
  }
  return exclusive;
}

void Store::clean_temporary() {
  std::string directory = path_ + "/tmp";
  if (names_in(directory).empty() || !lock_.try_upgrade()) return;
  for (const std::string& name : names_in(directory)) remove_tree(directory + "/" + name);
  lock_.downgrade();
}

Store::Pruned Store::prune(const PruneOptions& options) {
  Pruned pruned;
  FileLock exclusive = exclusive_lock();

  std::set<Digest> in_use(options.in_use.begin(), options.in_use.end());
  for (const ImageIndex& index : indexes()) {
    if (index.tags.empty() || options.all_images) {
      pruned.deleted.push_back(index.tags.empty() ? index.id.to_string() : index.tags.front());
      delete_index(index.id);
      continue;
    }
    for (const ImageIndex::Member& member : index.members) in_use.insert(member.image);
  }
  for (const Image& image : images()) {
    if (in_use.contains(image.id) || (!image.tags.empty() && !options.all_images)) continue;
    pruned.deleted.push_back(image.tags.empty() ? image.id.to_string() : image.tags.front());
    delete_image(image.id);
  }
  if (options.cache) {
    database_->execute("DELETE FROM actions; DELETE FROM cache_mounts;");
    for (const std::string& name : names_in(path_ + "/mounts")) {
      std::set<std::pair<dev_t, ino_t>> seen;
      pruned.bytes += disk_bytes(path_ + "/mounts/" + name, seen);
      pruned.deleted.push_back("cache mount " + name);
      remove_tree(path_ + "/mounts/" + name);
    }
    for (const std::string& name : names_in(path_ + "/lists")) {
      std::set<std::pair<dev_t, ino_t>> seen;
      pruned.bytes += disk_bytes(path_ + "/lists/" + name, seen);
      remove_tree(path_ + "/lists/" + name);
    }
    for (const std::string& name : names_in(git_directory())) {
      std::set<std::pair<dev_t, ino_t>> seen;
      pruned.bytes += disk_bytes(git_directory() + "/" + name, seen);
      remove_tree(git_directory() + "/" + name);
    }
  }

  std::set<Digest> layers, contents, diffs, blobs;
  for (const Image& image : images()) {
    blobs.insert(image.id);
    for (const LayerRef& layer : image.layers) layers.insert(layer.id);
  }
  for (const Action& action : actions()) layers.insert(action.layer.id);
  for (const Digest& layer : layers) {
    if (!layers_->has(layer)) continue;
    for (const Entry& entry : layers_->load(layer)->entries())
      if (entry.type == EntryType::kFile) contents.insert(entry.content);
    Statement diff = database_->prepare(
        "SELECT b.digest FROM diffs d JOIN blobs b ON b.diff_id=d.diff_id WHERE d.layer=?");
    diff.bind(layer);
    while (diff.step()) blobs.insert(diff.digest(0));
  }

  auto drop = [&](const std::string& path) {
    std::set<std::pair<dev_t, ino_t>> seen;
    struct stat st;
    // A content that a body shares is freed with the last of the two.
    if (lstat(path.c_str(), &st) == 0 && (S_ISDIR(st.st_mode) || st.st_nlink == 1))
      pruned.bytes += disk_bytes(path, seen);
    remove_tree(path);
  };
  auto keep = [](const std::set<Digest>& kept, const std::string& name) {
    auto digest = Digest::try_parse("sha256:" + name.substr(0, 64));
    return digest && kept.contains(*digest);
  };
  for_each_named(path_ + "/dirs", [&](const std::string& path, const std::string& name) {
    if (keep(layers, name)) return;
    std::set<std::pair<dev_t, ino_t>> seen;
    pruned.bytes += disk_bytes(path, seen);
    layers_->remove_body(path);
  });
  for_each_named(path_ + "/layers", [&](const std::string& path, const std::string& name) {
    if (!keep(layers, name)) drop(path);
  });
  for_each_named(path_ + "/contents", [&](const std::string& path, const std::string& name) {
    if (!keep(contents, name)) drop(path);
  });
  for_each_named(path_ + "/blobs", [&](const std::string& path, const std::string& name) {
    if (!keep(blobs, name)) drop(path);
  });
  for (const char* place : {"tmp", "locks"})
    for (const std::string& name : names_in(path_ + "/" + place))
      remove_tree(path_ + "/" + place + "/" + name);

  database_->transaction([&] {
    std::vector<Digest> gone;
    Statement row = database_->prepare("SELECT id FROM layers");
    while (row.step())
      if (Digest id = row.digest(0); !layers.contains(id)) gone.push_back(id);
    for (const Digest& id : gone)
      for (const char* table : {"layers WHERE id", "bodies WHERE layer", "diffs WHERE layer"})
        database_->prepare(fmt::format("DELETE FROM {}=?", table)).bind(id).run();
    database_->execute("DELETE FROM blobs WHERE diff_id NOT IN (SELECT diff_id FROM diffs)");
  });
  exclusive.release();
  lock_ = FileLock::shared(path_ + "/lock");
  return pruned;
}

void Store::destroy() {
  FileLock exclusive = exclusive_lock();
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
  usage.other = bytes("git") + bytes("builds") + bytes("tmp") + bytes("index.db") + bytes("index.db-wal") +
                bytes("locks") + bytes("lists");
  return usage;
}

}  // namespace corten::store
