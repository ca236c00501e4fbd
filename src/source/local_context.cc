#include "source/local_context.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>

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

// What others see of a file, and what we know of it. There may be a million: small, and those of a directory
// in one piece, by name, which never moves once it is enlisted.
struct LocalContext::Node : Entry {
  FileStamp stamp;
  bool has_digest = false;
  bool is_stable = false;                // stat(2) can be believed
  bool has_other_names = false;          // hard links
  std::unique_ptr<Directory> directory;  // of a directory alone

  bool is_regular() const { return S_ISREG(stamp.mode); }
};

struct LocalContext::Directory {
  bool is_listed = false;
  bool is_hidden = false;  // ignored itself, but kept because something below may be taken back in
  dockerfile::IgnoreMatcher::State state;
  std::vector<Node> children;
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
  static_cast<Entry&>(*root_) = store::default_root();
  root_->directory = std::make_unique<Directory>();
  struct stat st;
  if (fstat(root_fd_.get(), &st) != 0) fail_errno("stat {}", directory.value);
  root_->mode = tracked_.empty() ? st.st_mode & 07777 : 0755;
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
  if (top && top->is_directory()) level.push_back(top);
  while (!level.empty()) {
    std::vector<Node*> unread, below;
    for (Node* node : level)
      if (!node->directory->is_listed) unread.push_back(node);
    // All of a level or, when one of them cannot be read, none.
    std::vector<std::vector<Node>> found(unread.size());
    parallel_for(unread.size(), options_.threads, [&](size_t i) {
      TraceSpan span("read the context's directories");
      found[i] = scan(*unread[i]);
    });
    for (size_t i = 0; i < unread.size(); i++) enlist(*unread[i], std::move(found[i]));
    for (Node* node : level)
      for (Node& child : node->directory->children)
        if (child.is_directory()) below.push_back(&child);
    level = std::move(below);
  }
}

namespace {
struct Name {
  std::string text;
  bool is_regular = false;  // for sure: some file systems do not say
};

std::vector<Name> read_names(DIR* stream) {
  std::vector<Name> names;
  while (dirent* item = readdir(stream))
    if (std::string_view name = item->d_name; name != "." && name != "..")
      names.push_back({item->d_name, item->d_type == DT_REG});
  std::sort(names.begin(), names.end(), [](const Name& a, const Name& b) { return a.text < b.text; });
  return names;
}
}  // namespace

// What one directory holds, by name; nothing is touched.
std::vector<LocalContext::Node> LocalContext::scan(const Node& node) const {
  auto fd = open_no_links(root_fd_.get(), node.path.str(), O_RDONLY | O_DIRECTORY);
  if (!fd)
    fail(ErrorCode::kIo, "context {}: {} changed while it was read", directory_.value,
         quote(node.path.str()));
  DIR* stream = fdopendir(fd->get());
  if (!stream) fail_errno("read {}", node.path.absolute());
  int dir = fd->release();
  struct Closer {
    DIR* stream;
    ~Closer() { closedir(stream); }
  } closer{stream};
  struct stat own;
  bool is_stable = fstat(dir, &own) == 0 && can_believe_stat(own.st_dev, dir);
  std::vector<Name> names = read_names(stream);
  std::vector<Node> children;
  children.reserve(names.size());
  for (const Name& name : names) {
    RootfsPath path = node.path.child(name.text);
    auto match = matcher_.match(path.str(), node.directory->state);
    if (match.is_ignored && (matcher_.can_prune(path.str()) || name.is_regular)) continue;
    struct stat st;
    if (fstatat(dir, name.text.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) continue;  // went away since the directory was read
      fail_errno("stat {}", directory_.value + path.absolute());
    }
    if (match.is_ignored && !S_ISDIR(st.st_mode)) continue;
    Node& e = children.emplace_back();
    e.path = std::move(path);
    e.stamp = st;
    e.is_stable = is_stable && st.st_dev == own.st_dev;  // a file may be a mount of its own
    e.type = type_of(st.st_mode);
    e.has_other_names = e.is_regular() && st.st_nlink > 1;
    if (e.is_regular()) e.size = e.stamp.size;
    if (e.type == EntryType::kSymlink)
      e.link = read_link_at(dir, name.text);
    else
      e.mode = st.st_mode & 07777;
    if (e.type == EntryType::kFile && tracked_.contains(e.path.str()))
      e.mode = st.st_mode & 0100 ? 0755 : 0644;
    if (e.is_directory()) {
      if (tracked_directories_.contains(e.path.str())) e.mode = 0755;
      e.directory = std::make_unique<Directory>();
      e.directory->is_hidden = match.is_ignored;
      e.directory->state = std::move(match.state);
    }
    if (e.type == EntryType::kCharDevice || e.type == EntryType::kBlockDevice) {
      e.device_major = major(st.st_rdev);
      e.device_minor = minor(st.st_rdev);
    }
    if (options_.keep_times) e.time_ns = e.stamp.mtime_ns;
  }
  return children;
}

// What the tree as a whole has to know of a directory that was read. One that could not be read to its end,
// or beside which another could not, does not count as listed: another step must not take it for empty.
void LocalContext::enlist(Node& node, std::vector<Node> children) const {
  for (Node& child : children)
    if (child.has_other_names) {
      auto [first, is_new] =
          first_names_.emplace(std::pair(child.stamp.device, child.stamp.inode), child.path);
      if (first->second != child.path) child.hard_link = first->second;  // read once more: its own
    }
  // A directory that is only kept for what is taken back below it, and has nothing such, is not there.
  std::erase_if(children, [&](Node& child) {
    if (!child.directory || !child.directory->is_hidden) return false;
    read_directory(child);
    return child.directory->children.empty();
  });
  node.directory->children = std::move(children);
  node.directory->is_listed = true;
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
    if (!node->is_directory()) return nullptr;
    if (!node->directory->is_listed) read_directory(*node);
    std::vector<Node>& children = node->directory->children;
    auto child = std::lower_bound(
        children.begin(), children.end(), name,
        [](const Node& one, const std::string& wanted) { return one.path.filename() < wanted; });
    if (child == children.end() || child->path.filename() != name) return nullptr;
    node = &*child;
  }
  return node;
}

const Entry* LocalContext::find(const RootfsPath& path) const {
  std::lock_guard lock(mutex_);
  return node_at(path);
}

std::vector<const Entry*> LocalContext::list(const RootfsPath& directory) const {
  std::lock_guard lock(mutex_);
  std::vector<const Entry*> found;
  Node* node = node_at(directory);
  if (!node || !node->is_directory()) return found;
  if (!node->directory->is_listed) read_directory(*node);
  found.reserve(node->directory->children.size());
  for (const Node& child : node->directory->children) found.push_back(&child);
  return found;
}

namespace {
[[noreturn]] void changed_while_read(const std::string& path) {
  throw Error(ErrorCode::kIo, fmt::format("context file {} changed while it was read", quote(path)))
      .with_hint("build again when nothing writes to the context");
}
}  // namespace

Digest LocalContext::hash(const Node& node) const {
  const std::string& path = node.path.str();
  if (!node.is_regular()) return Digest::of("");
  int64_t now = (options_.clock ? *options_.clock : system_clock_).now_ns();
  if (auto known = node.is_stable ? stat_cache_.find(path, node.stamp, now) : std::nullopt) return *known;
  auto fd = open_no_links(root_fd_.get(), path, O_RDONLY | O_NONBLOCK);
  struct stat before, after;
  if (!fd || fstat(fd->get(), &before) != 0 || before != node.stamp) changed_while_read(path);
  archive::FdSource from(fd->get(), path);
  archive::HashingSource hashing(from);
  uint64_t size = archive::drain(hashing);
  if (fstat(fd->get(), &after) != 0 || after != node.stamp || size != node.size) changed_while_read(path);
  const Digest content = hashing.digest();
  if (node.is_stable) stat_cache_.remember(path, node.stamp, content, now);
  return content;
}

void LocalContext::compute_digests(std::span<const Entry* const> entries) const {
  TraceSpan span("digests of context files");
  std::vector<Node*> todo;
  {
    std::lock_guard lock(mutex_);
    for (const Entry* entry : entries) {
      if (entry->type != EntryType::kFile) continue;
      Node* node = static_cast<Node*>(const_cast<Entry*>(entry));
      if (!node->has_digest) todo.push_back(node);
    }
  }
  // Two steps may hash one file at the same time: both write the same value, one after the other.
  std::vector<Digest> results(todo.size());
  parallel_for(todo.size(), options_.threads, [&](size_t i) { results[i] = hash(*todo[i]); });
  std::lock_guard lock(mutex_);
  for (size_t i = 0; i < todo.size(); i++) {
    if (todo[i]->has_digest) continue;
    todo[i]->content = results[i];
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
    if (!contents_.add_missing(fd->get(), e.content, e.path.str())) changed_while_read(e.path.str());
  });
}

}  // namespace corten::source
