#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <fmt/core.h>

#include "archive/source.h"
#include "base/beneath.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "store/directory_body.h"

namespace corten::store {

namespace {

int64_t to_ns(const timespec& ts) {
  return clamped_ns(ts.tv_sec, ts.tv_nsec);
}

timespec to_timespec(int64_t ns) {
  int64_t seconds = ns / 1'000'000'000, rest = ns % 1'000'000'000;
  if (rest < 0) seconds--, rest += 1'000'000'000;
  return {seconds, rest};
}

class Capture {
 public:
  // `before`: the upper is a whole tree, of which what is as before does not count.
  Capture(std::string upper, const CaptureOptions& options, const TreeSnapshot* before = nullptr)
      : upper_(std::move(upper)), options_(options), before_(before) {}

  Manifest run() {
    visit_directory(RootfsPath(), false);
    std::set<RootfsPath> untouched;
    for (const Entry& e : entries_)
      if (is_untouched_stub_parent(e)) untouched.insert(e.path);
    std::erase_if(entries_, [&](const Entry& e) { return untouched.contains(e.path); });
    for (auto path = untouched.rbegin(); path != untouched.rend(); ++path) undo_touch(*path);
    join_hard_links();
    hash_files();
    if (!options_.keep_times) settle_times();
    return Manifest(std::move(entries_));
  }

 private:
  std::string host(const RootfsPath& path) const {
    return path.is_root() ? upper_ : upper_ + "/" + path.str();
  }

  // Whether anything in it belongs to the layer.
  bool visit_directory(const RootfsPath& directory, bool is_new) {
    UniqueFd fd = open_file(host(directory), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    DIR* stream = fdopendir(fd.get());
    if (!stream) fail_errno("read {}", directory.absolute());
    fd.release();
    std::vector<std::string> names;
    while (dirent* item = readdir(stream))
      if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0) names.emplace_back(item->d_name);
    closedir(stream);
    std::sort(names.begin(), names.end());
    if (directory.is_root()) visit_root();
    const size_t entries_before = entries_.size();
    for (const std::string& name : names) visit(directory.child(name), is_new);
    if (before_ && !is_new) add_whiteouts(directory, names);
    return entries_.size() > entries_before;
  }

  void add_whiteouts(const RootfsPath& directory, const std::vector<std::string>& names) {
    for (const std::string& name : before_->names(directory))
      if (!std::binary_search(names.begin(), names.end(), name)) {
        Entry e;
        e.path = directory.child(name);
        e.type = EntryType::kWhiteout;
        entries_.push_back(std::move(e));
      }
  }

  // The upper's own directory stands for "/", and counts only when the step changed it.
  void visit_root() {
    struct stat st;
    if (stat(upper_.c_str(), &st) != 0) fail_errno("stat {}", upper_);
    const Entry* below = options_.below ? options_.below->find(RootfsPath()) : nullptr;
    Entry root = entry_of(RootfsPath(), st);
    Entry expected = below ? *below : default_root();
    auto looks_like = [&](const Entry& other) {
      return root.mode == other.mode && root.uid == other.uid && root.gid == other.gid;
    };
    if (!looks_like(expected) || !looks_like(default_root())) entries_.push_back(std::move(root));
  }

  void visit(const RootfsPath& path, bool parent_is_new) {
    struct stat st;
    if (lstat(host(path).c_str(), &st) != 0) fail_errno("stat {}", path.absolute());
    if (S_ISSOCK(st.st_mode)) {  // a socket without its server is nothing; tar has no type for it
      if (unlink(host(path).c_str()) != 0) fail_errno("remove socket {}", path.absolute());
      return;
    }
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) drop_attributes(path);
    const bool is_new = parent_is_new || (before_ && !is_same_file(path, st));
    if (before_ && !is_new && is_unchanged(path, st)) {
      // With what changed in it, a directory is in the layer too, as an overlay has it in the upper.
      if (S_ISDIR(st.st_mode) && visit_directory(path, false)) entries_.push_back(entry_of(path, st));
      return;
    }
    if (S_ISREG(st.st_mode) && st.st_nlink > 1) links_[{st.st_dev, st.st_ino}].push_back(path);
    Entry e = entry_of(path, st);
    if (before_ && e.is_directory()) e.opaque = is_new && !parent_is_new;
    if (e.opaque && options_.below) {  // overlays mark every new directory
      const Entry* below = options_.below->find(path);
      e.opaque = below && below->is_directory();
    }
    entries_.push_back(std::move(e));
    if (S_ISDIR(st.st_mode)) visit_directory(path, before_ && is_new);
  }

  bool is_same_file(const RootfsPath& path, const struct stat& st) const {
    const TreeSnapshot::Seen* seen = before_->find(path);
    return seen && seen->inode == st.st_ino && (seen->mode & S_IFMT) == (st.st_mode & S_IFMT) &&
           seen->born_ns == TreeSnapshot::birth_of(host(path));
  }

  bool is_unchanged(const RootfsPath& path, const struct stat& st) const {
    const TreeSnapshot::Seen* seen = before_->find(path);
    return (S_ISDIR(st.st_mode) || seen->size == st.st_size) && seen->mode == st.st_mode &&
           seen->uid == st.st_uid && seen->gid == st.st_gid &&
           (seen->changed_ns == to_ns(st.st_ctim) || options_.put_back.contains(path));
  }

  Entry entry_of(const RootfsPath& path, const struct stat& st) {
    Entry e;
    e.path = path;
    if (!before_ && S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0)) {
      e.type = EntryType::kWhiteout;
      return e;
    }
    switch (st.st_mode & S_IFMT) {
      case S_IFREG:
        e.type = EntryType::kFile;
        e.size = static_cast<uint64_t>(st.st_size);
        break;
      case S_IFDIR:
        e.type = EntryType::kDirectory;
        e.opaque = is_opaque(path);
        break;
      case S_IFLNK:
        e.type = EntryType::kSymlink;
        e.link = read_link(path, st);
        break;
      case S_IFCHR:
        e.type = EntryType::kCharDevice;
        break;
      case S_IFBLK:
        e.type = EntryType::kBlockDevice;
        break;
      default:
        e.type = EntryType::kFifo;
        break;
    }
    if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
      e.device_major = major(st.st_rdev);
      e.device_minor = minor(st.st_rdev);
    }
    if (!S_ISLNK(st.st_mode)) e.mode = st.st_mode & 07777;
    e.uid = st.st_uid;
    e.gid = st.st_gid;
    if (options_.owners.recorded) read_owner(path, st, e);
    if (S_ISREG(st.st_mode)) read_capability(path, e);
    int64_t ns = to_ns(st.st_mtim);
    if (options_.keep_times || (ns < options_.started_ns && !options_.foreign_times_ns.contains(ns)))
      e.time_ns = ns;
    return e;
  }

  // What has no record was made by the step, and gets one, since the upper is to be the layer's body.
  void read_owner(const RootfsPath& path, const struct stat& st, Entry& e) {
    RecordedOwner owner = options_.maker;
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) {
      if (auto found = read_recorded_owner(host(path).c_str()))
        owner = *found;
      else
        options_.owners.give(AT_FDCWD, host(path), owner, path.absolute());
      if (owner.device_type != 0 && S_ISREG(st.st_mode) && st.st_size == 0) {
        e.type = owner.device_type == S_IFBLK ? EntryType::kBlockDevice : EntryType::kCharDevice;
        e.device_major = owner.device_major;
        e.device_minor = owner.device_minor;
      }
    } else if (auto said = options_.owner_of_special ? options_.owner_of_special(path) : std::nullopt) {
      owner = *said;
    } else if (const Entry* below = options_.below ? options_.below->find(path) : nullptr;
               below && below->type == e.type && below->link == e.link) {
      owner = {.uid = below->uid, .gid = below->gid};  // it was copied up as it is
    }
    e.uid = owner.uid;
    e.gid = owner.gid;
  }

  // The upper becomes the layer's directory, and is to show what one that is made of the manifest shows: no
  // attribute but those that reach a layer, and our own marks. An ACL of a directory would give other modes
  // to the files of later steps.
  void drop_attributes(const RootfsPath& path) {
    char names[16 << 10];
    ssize_t size = llistxattr(host(path).c_str(), names, sizeof names);
    if (size <= 0) return;
    for (std::string_view rest(names, static_cast<size_t>(size)); !rest.empty();) {
      std::string name(rest.substr(0, rest.find('\0')));
      rest.remove_prefix(name.size() + 1);
      bool is_mark = (name.starts_with("user.overlay.") && !name.starts_with("user.overlay.overlay.")) ||
                     name == kOwnerAttribute;
      if (is_mark || !(name.starts_with("user.") || name.starts_with("system.posix_acl_"))) continue;
      if (lremovexattr(host(path).c_str(), name.c_str()) != 0 && errno != ENODATA)
        fail_errno("remove attribute {} of {}", name, path.absolute());
    }
  }

  bool is_opaque(const RootfsPath& path) {
    char value[4];
    ssize_t n = lgetxattr(host(path).c_str(), "user.overlay.opaque", value, sizeof value);
    return n == 1 && value[0] == 'y';
  }

  std::string read_link(const RootfsPath& path, const struct stat& st) {
    std::string target(static_cast<size_t>(st.st_size) + 1, '\0');
    ssize_t n = readlink(host(path).c_str(), target.data(), target.size());
    if (n < 0) fail_errno("read link {}", path.absolute());
    target.resize(static_cast<size_t>(n));
    return target;
  }

  void read_capability(const RootfsPath& path, Entry& e) {
    char value[64];
    ssize_t n = lgetxattr(host(path).c_str(), "security.capability", value, sizeof value);
    if (n > 0) e.xattrs["security.capability"] = std::string(value, static_cast<size_t>(n));
  }

  // The sandbox made a mount point below this directory and took it away again: all that changed is the
  // directory's time.
  bool is_untouched_stub_parent(const Entry& e) {
    if (!e.is_directory() || e.opaque || !options_.stub_parents.contains(e.path) || !options_.below)
      return false;
    const Entry* below = options_.below->find(e.path);
    if (!below || !below->is_directory() || below->mode != e.mode || below->uid != e.uid ||
        below->gid != e.gid)
      return false;
    return std::none_of(entries_.begin(), entries_.end(), [&](const Entry& other) {
      return other.path != e.path && other.path.is_within(e.path) &&
             !options_.stub_parents.contains(other.path);
    });
  }

  // The directory has another time now. In an upper it can go, what is below shows again.
  void undo_touch(const RootfsPath& path) {
    if (!before_) {
      if (rmdir(host(path).c_str()) != 0 && errno != ENOTEMPTY) fail_errno("remove {}", path.absolute());
      return;
    }
    const TreeSnapshot::Seen* seen = before_->find(path);
    if (!seen) return;
    const timespec times[2] = {to_timespec(seen->modified_ns), to_timespec(seen->modified_ns)};
    if (utimensat(AT_FDCWD, host(path).c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
      fail_errno("set time of {}", path.absolute());
  }

  void join_hard_links() {
    std::map<RootfsPath, RootfsPath> first_names;
    for (auto& [inode, paths] : links_) {
      std::sort(paths.begin(), paths.end());
      for (size_t i = 1; i < paths.size(); i++) first_names[paths[i]] = paths[0];
    }
    for (Entry& e : entries_)
      if (auto first = first_names.find(e.path); first != first_names.end()) e.hard_link = first->second;
  }

  void hash_files() {
    std::vector<Entry*> files;
    for (Entry& e : entries_)
      if (e.type == EntryType::kFile && !e.is_hard_link()) files.push_back(&e);
    parallel_for(files.size(), options_.threads, [&](size_t i) {
      Entry& e = *files[i];
      UniqueFd fd = open_file(host(e.path), O_RDONLY | O_NOFOLLOW);
      archive::FdSource from(fd.get(), e.path.absolute());
      archive::HashingSource hashing(from);
      archive::drain(hashing);
      e.content = hashing.digest();
      e.size = hashing.size();
    });
    std::map<RootfsPath, const Entry*> firsts;
    for (const Entry& e : entries_)
      if (e.type == EntryType::kFile) firsts[e.path] = &e;
    for (Entry& e : entries_)
      if (e.is_hard_link())
        e.content = firsts.at(e.hard_link)->content, e.size = firsts.at(e.hard_link)->size;
  }

  void settle_times() {
    timespec times[2] = {{options_.layer_time, 0}, {options_.layer_time, 0}};
    if (utimensat(AT_FDCWD, upper_.c_str(), times, 0) != 0) fail_errno("set time of {}", upper_);
    for (auto e = entries_.rbegin(); e != entries_.rend(); ++e)
      if (!e->time_ns && e->type != EntryType::kWhiteout &&
          utimensat(AT_FDCWD, host(e->path).c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
        fail_errno("set time of {}", e->path.absolute());
  }

  std::string upper_;
  const CaptureOptions& options_;
  const TreeSnapshot* before_;
  std::vector<Entry> entries_;
  std::map<std::pair<dev_t, ino_t>, std::vector<RootfsPath>> links_;
};

}  // namespace

Manifest capture_changes(const std::string& tree, const TreeSnapshot& before, const CaptureOptions& options) {
  return Capture(tree, options, &before).run();
}

Manifest capture_upper(const std::string& upper, const CaptureOptions& options) {
  return Capture(upper, options).run();
}

}  // namespace corten::store
