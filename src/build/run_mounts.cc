#include "build/run_mounts.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/wait_lock.h"
#include "build/caches.h"
#include "store/directory_body.h"
#include "store/layer_builder.h"

namespace corten::build {

using dockerfile::MountType;
using store::Entry;
using store::EntryType;

namespace {

constexpr std::string_view kFileName = "file";

bool is_empty_directory(const std::string& path) {
  DIR* stream = opendir(path.c_str());
  if (!stream) fail_errno("read {}", path);
  bool empty = true;
  while (dirent* item = readdir(stream))
    if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0) empty = false;
  closedir(stream);
  return empty;
}

Digest seen_digest(const Entry& e) {
  return Digest::of(
      fmt::format("{} {} {} {}", static_cast<int>(e.type), e.mode & 0111, e.content.hex(), e.link));
}

// What is mounted from a tree: a directory's contents, or one file under a fixed name.
store::Manifest subtree(const store::Tree& tree, const Entry& top, bool& is_file) {
  std::vector<Entry> entries;
  is_file = !top.is_directory();
  auto take = [&](const Entry& e, RootfsPath path) {
    Entry copy = e;
    copy.path = std::move(path);
    copy.opaque = false;
    copy.hard_link = RootfsPath();
    entries.push_back(std::move(copy));
  };
  if (is_file) {
    take(top, RootfsPath(kFileName));
    return store::Manifest(std::move(entries));
  }
  size_t prefix = top.path.is_root() ? 0 : top.path.str().size() + 1;
  take(top, RootfsPath());
  store::walk(tree, top.path, [&](const Entry& e) { take(e, RootfsPath(e.path.str().substr(prefix))); });
  return store::Manifest(std::move(entries));
}

}  // namespace

RunMounts::RunMounts(const RunStep& step, const RunInputs& inputs, Executor& executor, int64_t layer_time,
                     const std::string& scratch)
    : step_(step), inputs_(inputs), executor_(executor), layer_time_(layer_time), scratch_(scratch) {
  lock_caches();
  size_t agents = 0;
  for (size_t i = 0; i < step.mounts.size(); i++) {
    const dockerfile::Mount& mount = step.mounts[i].mount;
    try {
      switch (mount.type) {
        case MountType::kSecret:
          add_secret(mount);
          break;
        case MountType::kSsh:
          add_ssh(mount, agents++);
          break;
        case MountType::kTmpfs:
          add_tmpfs(mount);
          break;
        case MountType::kCache:
          add_cache(step.mounts[i], inputs.sources[i]);
          break;
        case MountType::kBind:
          add_bind(mount, inputs.sources[i]);
          break;
      }
    } catch (Error& error) {
      if (!error.span()) error.set_span(mount.span);
      throw;
    }
  }
  for (const CopyStep::File& script : step.scripts) {
    sandbox::Mount mount;
    mount.target = RootfsPath("dev/pipes/" + script.name);
    mount.text = script.content;
    mount.text_mode = 0755;
    mount.read_only = true;
    mounts_.push_back(std::move(mount));
  }
  remember_sources();
}

std::string secret_id(const dockerfile::Mount& mount) {
  if (!mount.id.empty()) return mount.id;
  return mount.source.empty() ? HostPath{mount.target}.filename() : mount.source;
}

void RunMounts::add_secret(const dockerfile::Mount& mount) {
  std::string id = secret_id(mount);
  auto secret = executor_.request.secrets.find(id);
  if (secret == executor_.request.secrets.end()) {
    if (mount.required)
      throw Error(ErrorCode::kNotFound, fmt::format("secret {}: not found", id))
          .with_hint(
              fmt::format("hand it in with --secret id={},src=FILE or --secret id={},env=NAME", id, id));
    if (mount.env) variables_.emplace_back(*mount.env, "");
    return;
  }
  if (mount.env) variables_.emplace_back(*mount.env, secret->second.value);
  if (mount.env && mount.target.empty()) return;
  sandbox::Mount made;
  made.target = RootfsPath(mount.target.empty() ? "/run/secrets/" + HostPath{id}.filename() : mount.target);
  made.text = secret->second.value;
  made.is_secret = true;
  made.text_mode = mount.mode.value_or(0400);
  made.text_uid = mount.uid.value_or(0);
  made.text_gid = mount.gid.value_or(0);
  made.read_only = true;
  mounts_.push_back(std::move(made));
}

// A socket of the step's own, behind which the agent answers. One that nobody forwards is left out, but the
// variable is set all the same, as with BuildKit.
void RunMounts::add_ssh(const dockerfile::Mount& mount, size_t number) {
  std::string target =
      mount.target.empty() ? fmt::format("/run/buildkit/ssh_agent.{}", number) : mount.target;
  std::string id = mount.id.empty() ? "default" : mount.id;
  auto agent = executor_.request.ssh.find(id);
  if (agent == executor_.request.ssh.end() && mount.required)
    throw Error(ErrorCode::kNotFound, fmt::format("no SSH key {} forwarded from the client", quote(id)))
        .with_hint(fmt::format("forward an agent with --ssh {}, or a key with --ssh {}=KEYFILE", id, id));
  bool is_set = std::any_of(step_.environment.begin(), step_.environment.end(),
                            [](const std::string& entry) { return entry.starts_with("SSH_AUTH_SOCK="); });
  if (!is_set && number == 0) variables_.emplace_back("SSH_AUTH_SOCK", target);
  if (agent == executor_.request.ssh.end()) return;
  source::SshAgentSocket::Options options;
  options.mode = mount.mode.value_or(0600);
  // Where one id exists, whoever the step is can use it.
  if (!executor_.entered.records_owners()) {
    options.uid = mount.uid.value_or(0);
    options.gid = mount.gid.value_or(0);
  }
  agents_.emplace_back(agent->second, scratch_, fmt::format("ssh-{}", number), options);
  descriptors_.push_back(open_file(agents_.back().path(), O_PATH));
  sandbox::Mount made;
  made.target = RootfsPath(target);
  made.source.fd = descriptors_.back().get();
  mounts_.push_back(std::move(made));
}

void RunMounts::add_tmpfs(const dockerfile::Mount& mount) {
  sandbox::Mount made;
  made.kind = sandbox::Mount::Kind::kTmpfs;
  made.target = RootfsPath(mount.target);
  made.read_only = mount.read_only;
  made.no_suid = true;
  if (mount.size_bytes) made.size_bytes = mount.size_bytes;
  mounts_.push_back(std::move(made));
}

// Those with sharing=locked (and where they are moved into the step's root, all that others could want too),
// in one order for all steps: two that want the same two cannot wait for each
// other, and a mount that a step has twice is locked once.
void RunMounts::lock_caches() {
  std::map<std::string, std::string> wanted;
  for (const MountUse& use : step_.mounts)
    if (use.mount.type == MountType::kCache &&
        (use.mount.sharing == dockerfile::CacheSharing::kLocked ||
         (use.mount.sharing == dockerfile::CacheSharing::kShared && !executor_.entered.has_namespaces())))
      wanted[executor_.store.cache_mount_directory(use.cache_id)] = use.cache_id;
  for (const auto& [directory, id] : wanted) {
    std::string path = directory + "/lock";
    FileLock& lock = locks_[directory];
    if (FileLock::try_exclusive(path, lock)) continue;
    if (inputs_.wait)
      inputs_.wait(fmt::format("waiting for the cache mount {}, which another step uses", id));
    lock = wait_for_lock(path, executor_.cancellation);
    if (inputs_.wait) inputs_.wait("");
  }
}

std::vector<int> RunMounts::lock_fds() const {
  std::vector<int> list;
  // Without a pid namespace the lease first: who gets a cache mount after us finds it at home.
  if (!executor_.entered.has_namespaces()) list.push_back(executor_.store.lease().lock_fd());
  for (const auto& [directory, lock] : locks_) list.push_back(lock.fd());
  for (const CacheMemory& memory : memories_)
    if (memory.use_fd() >= 0) list.push_back(memory.use_fd());
  return list;
}

void RunMounts::take_back() {
  for (store::Borrowed& borrowed : borrowed_) borrowed.take_back();
}

void RunMounts::add_cache(const MountUse& use, const MountSource& source) {
  const dockerfile::Mount& mount = use.mount;
  const char* sharing = mount.sharing == dockerfile::CacheSharing::kLocked    ? "locked"
                        : mount.sharing == dockerfile::CacheSharing::kPrivate ? "private"
                                                                              : "shared";
  std::string owner = fmt::format("{}:{}", mount.uid.value_or(0), mount.gid.value_or(0));
  std::string directory = executor_.store.cache_mount_directory(use.cache_id, sharing, owner);
  if (mount.sharing == dockerfile::CacheSharing::kPrivate) {
    FileLock lock;
    // The first of id, id#1, id#2 ... that nobody uses.
    for (int number = 1; !FileLock::try_exclusive(directory + "/lock", lock); number++)
      directory =
          executor_.store.cache_mount_directory(fmt::format("{}#{}", use.cache_id, number), sharing, owner);
    locks_[directory] = std::move(lock);
  }
  std::string data = directory + "/data";
  // It may have been moved by a step that was killed.
  if (!path_exists(data) || !executor_.entered.has_namespaces()) executor_.store.clean_temporary();
  if (!path_exists(data)) {
    TempDir place = executor_.store.temporary("cache");
    if (source.tree) {
      bool is_file = false;
      const Entry* top = source.tree->find(RootfsPath());
      store::Manifest manifest = subtree(*source.tree, *top, is_file);
      std::vector<const Entry*> files;
      store::walk(*source.tree, RootfsPath(), [&](const Entry& e) { files.push_back(&e); });
      source.tree->compute_digests(files);
      source.tree->ingest(files);
      manifest = subtree(*source.tree, *top, is_file);
      // Copies, not links: a step writes to them.
      store::make_directory_body(manifest, layer_time_, executor_.store.contents(), place / "data",
                                 {.may_link = false, .owners = body_owners(executor_)});
    } else if (executor_.caches &&
               executor_.caches->fill_mount(use.cache_id, place.path(), body_owners(executor_))) {
      // What it saw where it comes from is there before it is: a mount without is not taken for its own.
      if (path_exists(place / "seen")) rename_if_free(place / "seen", directory + "/seen");
    } else if (mkdir((place / "data").c_str(), 0755) != 0) {
      fail_errno("make cache mount {}", use.cache_id);
    }
    body_owners(executor_).give(AT_FDCWD, place / "data",
                                {.uid = static_cast<uint32_t>(mount.uid.value_or(0)),
                                 .gid = static_cast<uint32_t>(mount.gid.value_or(0))},
                                "cache mount " + use.cache_id);
    if (chmod((place / "data").c_str(), mount.mode.value_or(0755) & 0777) != 0)
      fail_errno("set mode of cache mount {}", use.cache_id);
    // Never over another step's: that one is empty still, and mounted already.
    rename_if_free(place / "data", data);
  }
  sandbox::Mount made;
  made.target = RootfsPath(mount.target);
  made.read_only = mount.read_only;
  UniqueFd root = open_file(data, O_PATH | O_DIRECTORY);
  const size_t real_size = path_of(root.get(), "cache mount").size();  // no links in it
  if (!RootfsPath(mount.source).is_root()) {
    auto inside = open_in_root(root.get(), RootfsPath(mount.source).str(), O_PATH);
    if (!inside)
      fail(ErrorCode::kNotFound, "open {}: no such file or directory", RootfsPath(mount.source).absolute());
    root = std::move(*inside);
  }
  made.source.fd = root.get();
  if (!executor_.entered.has_namespaces())
    borrowed_.emplace_back(executor_.store.lease().temporary(),
                           data + path_of(root.get(), "cache mount").substr(real_size));
  descriptors_.push_back(std::move(root));
  mounts_.push_back(std::move(made));
  if (!mount.read_only) caches_.push_back({directory, data});
  if (executor_.caches) executor_.caches->mount_used(use.cache_id);
}

void RunMounts::add_bind(const dockerfile::Mount& mount, const MountSource& source) {
  RootfsPath wanted(mount.source);
  store::EmptyTree nothing;
  const store::Tree& tree = source.tree ? *source.tree : static_cast<const store::Tree&>(nothing);
  const Entry* top = tree.find(store::resolve_links(tree, wanted));
  if (!top)
    throw Error(
        ErrorCode::kNotFound,
        fmt::format("failed to compute cache key: failed to calculate checksum of ref {}: {}: not found",
                    mount.from.value_or("context"), quote(wanted.absolute())));
  BindSource bind;
  bind.manifest = std::make_shared<store::Manifest>(subtree(tree, *top, bind.is_file));
  bind.mount = mounts_.size();
  bind.target = RootfsPath(mount.target);
  sandbox::Mount made;
  made.target = bind.target;
  made.read_only = mount.read_only;
  if (!mount.read_only && !bind.is_file) made.kind = sandbox::Mount::Kind::kOverlay;
  mounts_.push_back(std::move(made));
  binds_.push_back(std::move(bind));
}

// Tells every writable cache mount what the step is about to see, and shows the sources at the times that
// they remember.
void RunMounts::remember_sources() {
  store::RootfsView view = executor_.store.layers().view(inputs_.below.refs());
  SeenTimes times;
  if (!caches_.empty() && executor_.request.timestamps == Timestamps::kLayer) {
    SeenPaths paths;
    // What a path could be shown at depends on what the mounts remember; the layer that the step makes must
    // not. So all times that a source has of its own or of its layer count as made up as well.
    auto see = [&](const RootfsPath& path, const Entry& e, int64_t layer_time) {
      paths[path] = seen_digest(e);
      foreign_times_.insert(e.time_ns.value_or(clamped_ns(layer_time)));
    };
    for (const StageLayer& layer : inputs_.below.layers) {
      auto manifest = executor_.store.layers().load(layer.ref.id);
      for (const Entry& e : manifest->entries()) {
        // Of a base only what has its layer's time: an image of ours, whose files do not show by their times
        // that they changed.
        if (layer.is_base && e.time_ns) continue;
        if ((e.type == EntryType::kFile || e.type == EntryType::kSymlink) && view.find(e.path) == &e)
          see(e.path, e, layer.ref.time);
      }
    }
    for (const BindSource& bind : binds_)
      for (const Entry& e : bind.manifest->entries())
        if (e.type == EntryType::kFile || e.type == EntryType::kSymlink)
          see(bind.is_file ? bind.target : RootfsPath::join(bind.target, e.path.str()), e, layer_time_);
    for (const WritableCache& cache : caches_) {
      memories_.emplace_back(cache.directory);
      for (const auto& [path, time] :
           memories_.back().begin(paths, is_empty_directory(cache.data), executor_.clock.now_ns())) {
        int64_t& shown = times[path];
        shown = std::max(shown, time);
      }
    }
  }
  // Tools that keep a time may cut it to microseconds (busybox) or seconds (tar).
  for (const auto& [path, time] : times)
    for (int64_t unit : {1, 1'000, 1'000'000'000}) foreign_times_.insert(time - time % unit);
  restamp_layers(times, view);
  place_binds(times);
}

void RunMounts::restamp_layers(const SeenTimes& times, const store::RootfsView& view) {
  std::map<RootfsPath, Entry> entries;
  auto time_of = [&](const Entry& e) -> int64_t {
    if (e.time_ns) return *e.time_ns;
    for (auto layer = inputs_.below.layers.rbegin(); layer != inputs_.below.layers.rend(); ++layer)
      if (executor_.store.layers().load(layer->ref.id)->find(e.path)) return clamped_ns(layer->ref.time);
    return clamped_ns(layer_time_);
  };
  for (const auto& [shown, time] : times) {
    const RootfsPath& path = shown;
    bool hidden = std::any_of(binds_.begin(), binds_.end(),
                              [&](const BindSource& bind) { return path.is_within(bind.target); });
    const Entry* entry = view.find(path);
    if (hidden || !entry || entry->is_directory()) continue;
    Entry copy = *entry;
    copy.time_ns = time;
    copy.hard_link = RootfsPath();
    entries[path] = std::move(copy);
    for (RootfsPath above = path.parent(); !above.is_root() && !entries.contains(above);
         above = above.parent()) {
      const Entry* directory = view.find(above);
      if (!directory) break;
      Entry parent = *directory;
      parent.time_ns = time_of(*directory);
      parent.opaque = false;
      entries[above] = std::move(parent);
    }
  }
  if (entries.empty()) return;
  if (const Entry* root = view.find(RootfsPath())) {
    Entry copy = *root;
    copy.path = RootfsPath();
    copy.time_ns = time_of(*root);
    copy.opaque = false;
    entries[RootfsPath()] = std::move(copy);
  }
  std::vector<Entry> list;
  for (auto& [path, entry] : entries) list.push_back(std::move(entry));
  restamped_ = scratch_ + "/restamped";
  store::make_directory_body(store::Manifest(std::move(list)), layer_time_, executor_.store.contents(),
                             restamped_, {.may_link = false, .owners = body_owners(executor_)});
}

// A bind is a directory body like a layer's, kept in the store under its content; one with times of its own,
// or a single file that may be written, is made for this step alone.
void RunMounts::place_binds(const SeenTimes& times) {
  for (size_t i = 0; i < binds_.size(); i++) {
    const BindSource& bind = binds_[i];
    sandbox::Mount& mount = mounts_[bind.mount];
    std::vector<Entry> entries = bind.manifest->entries();
    // What cannot be mounted or overlaid is a directory of the step's own.
    bool is_own = (bind.is_file && !mount.read_only) || executor_.uppers() == sandbox::Uppers::kCopied;
    if (is_own) mount.kind = sandbox::Mount::Kind::kBind;
    for (Entry& e : entries) {
      auto time = times.find(bind.is_file ? bind.target : RootfsPath::join(bind.target, e.path.str()));
      if (time == times.end()) continue;
      e.time_ns = time->second;
      is_own = true;
    }
    std::string directory;
    if (is_own) {
      directory = fmt::format("{}/bind-{}", scratch_, i);
      store::make_directory_body(store::Manifest(std::move(entries)), layer_time_, executor_.store.contents(),
                                 directory, {.may_link = false, .owners = body_owners(executor_)});
    } else {
      store::LayerRef layer{executor_.store.layers().save(*bind.manifest), layer_time_};
      directory = executor_.store.layers().directory(layer, body_owners(executor_)).value;
    }
    if (bind.is_file) directory += "/" + std::string(kFileName);
    mount.source.path = {directory};
  }
}

}  // namespace corten::build
