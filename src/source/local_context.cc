#include "source/local_context.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <fmt/core.h>

#include "archive/source.h"
#include "base/beneath.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "base/trace.h"
#include "source/git_index.h"

namespace corten::source {

using store::Entry;
using store::EntryType;

struct LocalContext::Node {
  Entry entry;
  struct stat st {};
  bool is_listed = false;
  bool is_hidden = false;  // ignored itself, but kept because something below may be taken back in
  bool has_digest = false;
  bool is_stable = false;  // stat(2) can be believed
  dockerfile::IgnoreMatcher::State state;
  Children children;
};

LocalContext::LocalContext(const HostPath& directory, const LocalContextOptions& options,
                           store::Contents& contents)
    : directory_(directory),
      options_(options),
      matcher_(options.ignore),
      contents_(contents),
      stat_cache_(options.stat_cache) {
  UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd && (errno == ENOENT || errno == ENOTDIR))
    throw Error(ErrorCode::kNotFound,
                fmt::format("unable to prepare context: path {} not found", quote(directory.value)));
  if (!fd) fail_errno("unable to prepare context: open {}", directory.value);
  root_fd_ = std::move(fd);
  for (const std::string& path : (tracked_ = tracked_files(directory.value)))
    for (size_t slash = path.rfind('/'); slash != std::string::npos && slash > 0;
         slash = path.rfind('/', slash - 1))
      if (!tracked_directories_.insert(path.substr(0, slash)).second) break;
  root_ = std::make_unique<Node>();
  root_->entry = store::default_root();
  if (fstat(root_fd_.get(), &root_->st) != 0) fail_errno("stat {}", directory.value);
  root_->entry.mode = tracked_.empty() ? root_->st.st_mode & 07777 : 0755;
}

LocalContext::~LocalContext() = default;

namespace {
EntryType type_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return EntryType::kDirectory;
    case S_IFLNK:
      return EntryType::kSymlink;
    case S_IFCHR:
      return EntryType::kCharDevice;
    case S_IFBLK:
      return EntryType::kBlockDevice;
    case S_IFIFO:
      return EntryType::kFifo;
    default:
      return EntryType::kFile;  // a socket arrives as an empty file, as from BuildKit's client
  }
}

std::string read_link_at(int dir, const std::string& name) {
  std::string target(4096, '\0');
  ssize_t n = readlinkat(dir, name.c_str(), target.data(), target.size());
  if (n < 0) fail_errno("read link {}", name);
  target.resize(static_cast<size_t>(n));
  return target;
}
}  // namespace

void LocalContext::read_directory(Node& node) const {
  TraceSpan span("read the context's directories");
  enlist(node, scan(node));
}

// Level by level, the directories of a level on several threads.
void LocalContext::expect(const RootfsPath& directory) const {
  std::lock_guard lock(mutex_);
  Node* top = node_at(directory);
  std::vector<Node*> level;
  if (top && top->entry.is_directory()) level.push_back(top);
  while (!level.empty()) {
    std::vector<Node*> unread, below;
    for (Node* node : level)
      if (!node->is_listed) unread.push_back(node);
    // All of a level or, when one of them cannot be read, none.
    std::vector<Children> found(unread.size());
    parallel_for(unread.size(), options_.threads, [&](size_t i) {
      TraceSpan span("read the context's directories");
      found[i] = scan(*unread[i]);
    });
    for (size_t i = 0; i < unread.size(); i++) enlist(*unread[i], std::move(found[i]));
    for (Node* node : level)
      for (const auto& [name, child] : node->children)
        if (child->entry.is_directory()) below.push_back(child.get());
    level = std::move(below);
  }
}

// What one directory holds; nothing is touched.
LocalContext::Children LocalContext::scan(const Node& node) const {
  Children children;
  auto fd = open_no_links(root_fd_.get(), node.entry.path.str(), O_RDONLY | O_DIRECTORY);
  if (!fd)
    fail(ErrorCode::kIo, "context {}: {} changed while it was read", directory_.value,
         quote(node.entry.path.str()));
  DIR* stream = fdopendir(fd->get());
  if (!stream) fail_errno("read {}", node.entry.path.absolute());
  int dir = fd->release();
  struct Closer {
    DIR* stream;
    ~Closer() { closedir(stream); }
  } closer{stream};
  struct stat own;
  bool is_stable = fstat(dir, &own) == 0 && can_believe_stat(own.st_dev, dir);
  while (dirent* item = readdir(stream)) {
    std::string name = item->d_name;
    if (name == "." || name == "..") continue;
    auto child = std::make_unique<Node>();
    Entry& e = child->entry;
    e.path = node.entry.path.child(name);
    auto match = matcher_.match(e.path.str(), node.state);
    if (match.is_ignored && (matcher_.can_prune(e.path.str()) || item->d_type == DT_REG)) continue;
    child->state = std::move(match.state);
    if (fstatat(dir, name.c_str(), &child->st, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) continue;  // went away since the directory was read
      fail_errno("stat {}", directory_.value + e.path.absolute());
    }
    const struct stat& st = child->st;
    child->is_stable = is_stable && st.st_dev == own.st_dev;  // a file may be a mount of its own
    e.type = type_of(st.st_mode);
    if (match.is_ignored && !e.is_directory()) continue;
    child->is_hidden = match.is_ignored;
    if (e.type == EntryType::kFile && S_ISREG(st.st_mode)) e.size = static_cast<uint64_t>(st.st_size);
    if (e.type == EntryType::kSymlink)
      e.link = read_link_at(dir, name);
    else
      e.mode = st.st_mode & 07777;
    if (e.type == EntryType::kFile && tracked_.contains(e.path.str()))
      e.mode = st.st_mode & 0100 ? 0755 : 0644;
    if (e.is_directory() && tracked_directories_.contains(e.path.str())) e.mode = 0755;
    if (e.type == EntryType::kCharDevice || e.type == EntryType::kBlockDevice) {
      e.device_major = major(st.st_rdev);
      e.device_minor = minor(st.st_rdev);
    }
    if (options_.keep_times) e.time_ns = clamped_ns(st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    children.emplace(std::move(name), std::move(child));
  }
  return children;
}

// What the tree as a whole has to know of a directory that was read. One that could not be read to its end,
// or beside which another could not, does not count as listed: another step must not take it for empty.
void LocalContext::enlist(Node& node, Children children) const {
  node.children = std::move(children);
  node.is_listed = true;
  for (const auto& [name, child] : node.children) {
    const struct stat& st = child->st;
    if (S_ISREG(st.st_mode) && st.st_nlink > 1) {
      auto [first, is_new] = first_names_.emplace(std::pair(st.st_dev, st.st_ino), child->entry.path);
      if (!is_new) child->entry.hard_link = first->second;
    }
    nodes_[&child->entry] = child.get();
  }
  // A directory that is only kept for what is taken back below it, and has nothing such, is not there.
  for (auto child = node.children.begin(); child != node.children.end();) {
    Node& c = *child->second;
    if (c.is_hidden) read_directory(c);
    if (c.is_hidden && c.children.empty()) {
      nodes_.erase(&c.entry);
      child = node.children.erase(child);
    } else {
      ++child;
    }
  }
}

bool LocalContext::can_believe_stat(dev_t device, int directory) const {
  std::lock_guard lock(devices_mutex_);
  auto known = stable_devices_.find(device);
  if (known != stable_devices_.end()) return known->second;
  struct statfs fs;
  int64_t kind = options_.file_system           ? options_.file_system(directory)
                 : fstatfs(directory, &fs) == 0 ? static_cast<int64_t>(fs.f_type)
                                                : 0x65735546;
  return stable_devices_[device] = has_stable_inodes(kind);
}

LocalContext::Node* LocalContext::node_at(const RootfsPath& path) const {
  Node* node = root_.get();
  for (const std::string& name : path.components()) {
    if (!node->entry.is_directory()) return nullptr;
    if (!node->is_listed) read_directory(*node);
    auto child = node->children.find(name);
    if (child == node->children.end()) return nullptr;
    node = child->second.get();
  }
  return node;
}

const Entry* LocalContext::find(const RootfsPath& path) const {
  std::lock_guard lock(mutex_);
  Node* node = node_at(path);
  return node ? &node->entry : nullptr;
}

std::vector<const Entry*> LocalContext::list(const RootfsPath& directory) const {
  std::lock_guard lock(mutex_);
  std::vector<const Entry*> found;
  Node* node = node_at(directory);
  if (!node || !node->entry.is_directory()) return found;
  if (!node->is_listed) read_directory(*node);
  for (const auto& [name, child] : node->children) found.push_back(&child->entry);
  return found;
}

namespace {
bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size &&
         a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec &&
         a.st_ctim.tv_sec == b.st_ctim.tv_sec && a.st_ctim.tv_nsec == b.st_ctim.tv_nsec;
}

[[noreturn]] void changed_while_read(const std::string& path) {
  throw Error(ErrorCode::kIo, fmt::format("context file {} changed while it was read", quote(path)))
      .with_hint("build again when nothing writes to the context");
}
}  // namespace

Digest LocalContext::hash(const Node& node) const {
  const std::string& path = node.entry.path.str();
  if (!S_ISREG(node.st.st_mode)) return Digest::of("");
  int64_t now = (options_.clock ? *options_.clock : system_clock_).now_ns();
  if (auto known = node.is_stable ? stat_cache_.find(path, node.st, now) : std::nullopt) return *known;
  auto fd = open_no_links(root_fd_.get(), path, O_RDONLY | O_NONBLOCK);
  struct stat before, after;
  if (!fd || fstat(fd->get(), &before) != 0 || !same_file(before, node.st)) changed_while_read(path);
  archive::FdSource from(fd->get(), path);
  archive::HashingSource hashing(from);
  uint64_t size = archive::drain(hashing);
  if (fstat(fd->get(), &after) != 0 || !same_file(before, after) || size != node.entry.size)
    changed_while_read(path);
  const Digest content = hashing.digest();
  if (node.is_stable) stat_cache_.remember(path, before, content, now);
  return content;
}

void LocalContext::compute_digests(std::span<const Entry* const> entries) const {
  TraceSpan span("digests of context files");
  std::vector<Node*> todo;
  {
    std::lock_guard lock(mutex_);
    for (const Entry* entry : entries) {
      if (entry->type != EntryType::kFile) continue;
      Node* node = nodes_.at(entry);
      if (!node->has_digest) todo.push_back(node);
    }
  }
  // Two steps may hash one file at the same time: both write the same value, one after the other.
  std::vector<Digest> results(todo.size());
  parallel_for(todo.size(), options_.threads, [&](size_t i) { results[i] = hash(*todo[i]); });
  std::lock_guard lock(mutex_);
  for (size_t i = 0; i < todo.size(); i++) {
    if (todo[i]->has_digest) continue;
    todo[i]->entry.content = results[i];
    todo[i]->has_digest = true;
  }
}

void LocalContext::ingest(std::span<const Entry* const> entries, const store::Manifest* known) const {
  TraceSpan span("bring context files into the store");
  std::unordered_set<Digest> there;
  if (known)
    for (const Entry& e : known->entries())
      if (e.type == EntryType::kFile) there.insert(e.content);
  std::vector<const Entry*> doubtful;
  std::vector<Digest> digests;
  for (const Entry* e : entries) {
    if (e->type != EntryType::kFile || there.contains(e->content)) continue;
    doubtful.push_back(e);
    digests.push_back(e->content);
  }
  contents_.hold(digests);
  parallel_for(doubtful.size(), options_.threads, [&](size_t i) {
    const Entry& e = *doubtful[i];
    if (contents_.exists(e.content)) return;
    struct stat st;
    auto fd = open_no_links(root_fd_.get(), e.path.str(), O_RDONLY | O_NONBLOCK);
    if (e.size == 0 && (!fd || fstat(fd->get(), &st) != 0 || !S_ISREG(st.st_mode))) {
      contents_.add_bytes("");  // a socket
      return;
    }
    if (!fd) changed_while_read(e.path.str());
    if (contents_.add_file(fd->get(), e.path.str()).digest != e.content) changed_while_read(e.path.str());
  });
}

}  // namespace corten::source
