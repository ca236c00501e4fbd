#include "build/step_root.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <set>
#include <vector>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/trace.h"
#include "store/flattened.h"
#include "store/layers.h"
#include "store/upper.h"

namespace corten::build {

namespace {

using store::Entry;
using store::EntryType;

// The directories of a stack, the uppermost first.
std::vector<HostPath> stack_lowers(const store::Rootfs& layers, const store::Owners& owners,
                                   store::Layers& store) {
  // An overlay takes 500 directories: a long stack has one for each layer.
  constexpr size_t kMaxLayersWithDeltas = 50;
  TraceSpan span("directories that a RUN stands on");
  std::vector<HostPath> directories;
  for (size_t i = layers.size(); i-- > 0;) {
    if (layers.size() > kMaxLayersWithDeltas) {
      directories.push_back(store.directory(layers[i], owners));
      continue;
    }
    std::optional<store::RootfsView> beneath;
    for (HostPath& directory : store.lowers(layers[i], owners, [&](const RootfsPath& path) {
           if (!beneath) beneath.emplace(store.view({layers.begin(), layers.begin() + static_cast<long>(i)}));
           return beneath->find(path) != nullptr;
         }))
      directories.push_back(std::move(directory));
  }
  return directories;
}

// Into the store, from a directory that is not to be the layer's body.
void add_contents(const store::Manifest& manifest, const std::string& directory, store::Contents& contents) {
  for (const Entry& e : manifest.entries()) {
    if (e.type != EntryType::kFile || e.is_hard_link() || contents.has(e.content)) continue;
    UniqueFd file = open_file(directory + "/" + e.path.str(), O_RDONLY | O_NOFOLLOW);
    if (contents.add_file(file.get(), e.path.absolute()).digest != e.content)
      fail(ErrorCode::kCorrupt, "{}: changed while it was stored", e.path.absolute());
  }
}

class OverlayRoot : public StepRoot {
 public:
  explicit OverlayRoot(const StepRootOptions& options) : OverlayRoot(options, options.place) {}

  const std::string& writable() const override { return upper_; }

  void describe(sandbox::Root& root) override {
    if (!options_.restamped.empty()) add_lower(options_.restamped, root);
    add_layers(root);
    root.upper = {upper_};
    root.work = {work_};
  }

  store::Manifest capture(const store::CaptureOptions& options) override {
    return store::capture_upper(upper_, options);
  }

  store::LayerRef keep(const store::Manifest& manifest) override {
    return options_.store.layers().adopt(manifest, options_.layer_time, options_.owners, {upper_});
  }

 protected:
  OverlayRoot(const StepRootOptions& options, const std::string& place)
      : options_(options), upper_(place + "/upper"), work_(place + "/work") {
    store::make_upper(upper_, options_.view, options_.owners);
    if (mkdir(work_.c_str(), 0700) != 0) fail_errno("make directory {}", work_);
  }

  virtual void add_layers(sandbox::Root& root) {
    for (const HostPath& directory :
         stack_lowers(options_.below.refs(), options_.owners, options_.store.layers()))
      add_lower(directory.value, root);
  }

  void add_lower(const std::string& directory, sandbox::Root& root) {
    layers_.push_back(open_file(directory, O_PATH | O_DIRECTORY));
    root.lowers.push_back({.path = {directory}, .fd = layers_.back().get()});
  }

  const StepRootOptions options_;

 private:
  std::string upper_, work_;
  std::vector<UniqueFd> layers_;
};

// A tmpfs of the step's own, seen by us and our children.
class StepMemory {
 public:
  explicit StepMemory(const std::string& place) : directory_(place + "/memory") {
    if (mkdir(directory_.c_str(), 0700) != 0) fail_errno("make directory {}", directory_);
    sandbox::mount_memory({directory_});
  }
  ~StepMemory() {
    try {
      sandbox::unmount({directory_});
    } catch (const Error&) {
      return;  // it goes with our mount namespace
    }
  }
  StepMemory(const StepMemory&) = delete;
  const std::string& directory() const { return directory_; }

 private:
  std::string directory_;
};

// The layer without what only hides: whiteouts, and marks of opaque directories.
store::Manifest without_whiteouts(const store::Manifest& manifest) {
  std::vector<Entry> entries;
  for (Entry e : manifest.entries()) {
    if (e.type == EntryType::kWhiteout) continue;
    e.opaque = false;
    entries.push_back(std::move(e));
  }
  return store::Manifest(std::move(entries));
}

// And only that, with the directories on the way.
store::Manifest only_whiteouts(const store::Manifest& manifest) {
  std::vector<Entry> entries;
  std::set<RootfsPath> taken;
  for (const Entry& e : manifest.entries()) {
    if (e.type != EntryType::kWhiteout && !e.opaque) continue;
    for (RootfsPath path = e.path.parent(); !path.is_root() && taken.insert(path).second;
         path = path.parent()) {
      Entry directory = store::default_root();
      directory.path = path;
      if (const Entry* there = manifest.find(path)) directory.opaque = there->opaque;
      entries.push_back(std::move(directory));
    }
    if (!taken.insert(e.path).second) continue;
    Entry copy = e;
    copy.uid = copy.gid = 0;
    copy.xattrs.clear();
    entries.push_back(std::move(copy));
  }
  return store::Manifest(std::move(entries));
}

// On a store that is itself an overlay neither uppers nor whiteouts can be. A layer's whiteouts then lie in
// memory, as a lower of their own right below the rest of the layer.
class MemoryRoot : private StepMemory, public OverlayRoot {
 public:
  explicit MemoryRoot(const StepRootOptions& options)
      : StepMemory(options.place), OverlayRoot(options, StepMemory::directory()) {}

  // The next step's body is made from the contents.
  store::LayerRef keep(const store::Manifest& manifest) override {
    add_contents(manifest, writable(), options_.store.contents());
    return {options_.store.layers().save(manifest), options_.layer_time};
  }

  std::string why_it_may_have_failed() const override {
    struct statvfs st;
    if (statvfs(directory().c_str(), &st) != 0 || st.f_bavail > 0) return {};
    return fmt::format(
        "what a step writes lies in memory here, and its {} are used up: put the store on a volume "
        "(CORTEN_STORE=DIR), "
        "see 'corten doctor'",
        human_size(st.f_blocks * st.f_frsize));
  }

 protected:
  void add_layers(sandbox::Root& root) override {
    store::Layers& layers = options_.store.layers();
    for (auto layer = options_.below.layers.rbegin(); layer != options_.below.layers.rend(); ++layer) {
      const auto manifest = layers.load(layer->ref.id);
      const store::Manifest hiding = only_whiteouts(*manifest);
      if (hiding.empty()) {
        add_lower(layers.directory(layer->ref, options_.owners).value, root);
        continue;
      }
      const store::LayerRef rest{layers.save(without_whiteouts(*manifest)), layer->ref.time};
      add_lower(layers.directory(rest, options_.owners).value, root);
      const std::string place = fmt::format("{}/whiteouts-{}", directory(), count_++);
      store::make_directory_body(hiding, layer->ref.time, options_.store.contents(), place,
                                 {.may_link = false, .owners = options_.owners});
      add_lower(place, root);
    }
  }

 private:
  size_t count_ = 0;
};

// Gives the tree the times of what lies in `from`, at the same paths.
void copy_times(const std::string& from, const std::string& tree, const RootfsPath& directory,
                const store::TreeSnapshot& names) {
  for (const std::string& name : names.names(directory)) {
    const RootfsPath path = directory.child(name);
    copy_times(from, tree, path, names);
    struct stat st;
    if (lstat((from + "/" + path.str()).c_str(), &st) != 0) fail_errno("stat {}", path.absolute());
    const timespec times[2] = {st.st_mtim, st.st_mtim};
    if (utimensat(AT_FDCWD, (tree + "/" + path.str()).c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
      fail_errno("set time of {}", path.absolute());
  }
}

class CopiedRoot : public StepRoot {
 public:
  explicit CopiedRoot(const StepRootOptions& options) : options_(options) {
    tree_ = options_.trees.take(store::rootfs_digest(options_.below.refs()));
    if (tree_.path().empty()) {
      tree_ = options_.store.temporary("tree");
      store::make_directory_body(
          store::flattened(options_.below.refs(), options_.view, options_.store.layers()),
          options_.layer_time, options_.store.contents(), tree_ / "root",
          {.may_link = false, .owners = options_.owners});
    }
    root_ = tree_ / "root";
    if (!options_.restamped.empty())
      copy_times(options_.restamped, root_, RootfsPath(), store::TreeSnapshot(options_.restamped));
    before_ = std::make_unique<store::TreeSnapshot>(root_);
  }

  const std::string& writable() const override { return root_; }
  void describe(sandbox::Root& root) override { root.plain.path = {root_}; }

  store::Manifest capture(const store::CaptureOptions& options) override {
    return store::capture_changes(root_, *before_, options);
  }

  store::LayerRef keep(const store::Manifest& manifest) override {
    add_contents(manifest, root_, options_.store.contents());
    const store::LayerRef layer{options_.store.layers().save(manifest), options_.layer_time};
    if (!options_.restamped.empty()) return layer;  // its times are one step's
    store::Rootfs rootfs = options_.below.refs();
    rootfs.push_back(layer);
    options_.trees.give(store::rootfs_digest(rootfs), std::move(tree_));
    return layer;
  }

 private:
  const StepRootOptions options_;
  TempDir tree_;
  std::string root_;
  std::unique_ptr<store::TreeSnapshot> before_;
};

}  // namespace

TempDir StepTrees::take(const Digest& rootfs) {
  std::lock_guard lock(mutex_);
  auto found = trees_.find(rootfs);
  if (found == trees_.end()) return {};
  TempDir tree = std::move(found->second);
  trees_.erase(found);
  return tree;
}

void StepTrees::give(const Digest& rootfs, TempDir tree) {
  constexpr size_t kMaxTrees = 4;
  std::lock_guard lock(mutex_);
  if (trees_.size() >= kMaxTrees) trees_.erase(trees_.begin());
  trees_.insert_or_assign(rootfs, std::move(tree));
}

std::unique_ptr<StepRoot> StepRoot::make(sandbox::Uppers uppers, const StepRootOptions& options) {
  switch (uppers) {
    case sandbox::Uppers::kOnStore:
      return std::make_unique<OverlayRoot>(options);
    case sandbox::Uppers::kInMemory:
      return std::make_unique<MemoryRoot>(options);
    case sandbox::Uppers::kCopied:
      break;
  }
  return std::make_unique<CopiedRoot>(options);
}

}  // namespace corten::build
