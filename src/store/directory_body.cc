#include "store/directory_body.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"

namespace corten::store {

namespace {

constexpr const char* kOpaqueXattr = "user.overlay.opaque";

timespec to_timespec(int64_t ns) {
  int64_t seconds = ns / 1'000'000'000, rest = ns % 1'000'000'000;
  if (rest < 0) seconds--, rest += 1'000'000'000;
  return {seconds, rest};
}

class BodyMaker {
 public:
  BodyMaker(int64_t time, const Contents& contents, std::string root, const BodyOptions& options)
      : time_ns_(clamped_ns(time)), contents_(contents), root_(std::move(root)), options_(options) {}

  std::vector<const Entry*> make(const Manifest& manifest) {
    if (mkdir(root_.c_str(), 0755) != 0) fail_errno("make directory {}", root_);
    top_ = open_file(root_, O_RDONLY | O_DIRECTORY);
    for (const Entry& entry : manifest.entries()) add(entry);
    // Times of directories last, deepest first: making a file touched them.
    for (auto entry = manifest.entries().rbegin(); entry != manifest.entries().rend(); ++entry)
      if (entry->is_directory()) set_time(*entry);
    if (!manifest.find(RootfsPath())) {
      if (options_.owners.recorded) options_.owners.give(AT_FDCWD, root_, {}, "/");
      set_time(default_root());
    }
    return std::move(linked_);
  }

 private:
  void add(const Entry& e) {
    std::string name = e.path.is_root() ? "." : std::string(e.path.filename());
    int dir = e.path.is_root() ? top_.get() : parent_of(e.path);
    switch (e.type) {
      case EntryType::kDirectory:
        if (!e.path.is_root() && mkdirat(dir, name.c_str(), 0700) != 0 && errno != EEXIST)
          failed("make directory", e);
        break;
      case EntryType::kFile:
        add_file(dir, name, e);
        break;
      case EntryType::kSymlink:
        if (symlinkat(e.link.c_str(), dir, name.c_str()) != 0) failed("make link", e);
        break;
      case EntryType::kWhiteout:
        if (mknodat(dir, name.c_str(), S_IFCHR, makedev(0, 0)) != 0) failed("make whiteout", e);
        return;
      case EntryType::kCharDevice:
      case EntryType::kBlockDevice: {
        mode_t kind = e.type == EntryType::kCharDevice ? S_IFCHR : S_IFBLK;
        if (options_.owners.recorded) {
          open_at(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600).close_checked(e.path.absolute());
          break;
        }
        if (mknodat(dir, name.c_str(), kind | 0600, makedev(e.device_major, e.device_minor)) != 0) {
          if (errno == EPERM)
            throw Error(ErrorCode::kUnsupported,
                        fmt::format("{}: device nodes can be made by root only", e.path.absolute()))
                .with_hint(
                    "build as root, or leave device nodes out of the image: containers get their own /dev");
          failed("make device", e);
        }
        break;
      }
      case EntryType::kFifo:
        if (mkfifoat(dir, name.c_str(), 0600) != 0) failed("make fifo", e);
        break;
    }
    if (e.is_hard_link()) return;
    set_owner_and_mode(dir, name, e);
    if (e.opaque) set_xattr(e, kOpaqueXattr, "y");
    for (const auto& [key, value] : e.xattrs.map()) set_xattr(e, key, value);
    if (!e.is_directory()) set_time(e);
  }

  // Parents that the manifest leaves out (layers of others may) are made plainly. Descriptors of the current
  // branch are kept open.
  int parent_of(const RootfsPath& path) {
    RootfsPath parent = path.parent();
    if (!parent_ || parent_path_ != parent) {
      parent_ = make_directories(top_.get(), parent.str());
      parent_path_ = parent;
    }
    return parent_->get();
  }

  void add_file(int dir, const std::string& name, const Entry& e) {
    if (e.is_hard_link()) {
      UniqueFd first_parent = make_directories(top_.get(), e.hard_link.parent().str());
      if (linkat(first_parent.get(), std::string(e.hard_link.filename()).c_str(), dir, name.c_str(), 0) != 0)
        failed("make hard link", e);
      return;
    }
    if (e.size > 0 && options_.may_link && claim(dir, name, e)) return;
    UniqueFd to = open_at(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (e.size > 0) {
      UniqueFd from = contents_.open(e.content);
      copy_contents(from.get(), to.get(), e.size, e.path.absolute());
    }
    to.close_checked(e.path.absolute());
  }

  // Links the content here if no other body has: then its own name is the only other one, and is to point
  // here. The link count is looked at after linking, so of two that try at once none or one claims it. A
  // small file is copied sooner than moved.
  bool claim(int dir, const std::string& name, const Entry& e) {
    constexpr uint64_t kWorthMoving = 256 << 10;
    if (e.size < kWorthMoving) return false;
    if (linkat(AT_FDCWD, contents_.path(e.content).c_str(), dir, name.c_str(), 0) != 0) {
      if (errno == ENOENT)
        fail(ErrorCode::kCorrupt, "{}: its content {} is not in the store", e.path.absolute(),
             e.content.to_string());
      return false;
    }
    struct stat st;
    if (fstatat(dir, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
        st.st_nlink == 2 &&
        (options_.owners.recorded || fchownat(dir, name.c_str(), e.uid, e.gid, AT_SYMLINK_NOFOLLOW) == 0)) {
      linked_.push_back(&e);
      return true;
    }
    if (unlinkat(dir, name.c_str(), 0) != 0) failed("make", e);
    return false;
  }

  void set_owner_and_mode(int dir, const std::string& name, const Entry& e) {
    const bool has_record = e.type != EntryType::kSymlink && e.type != EntryType::kFifo;
    if (has_record || !options_.owners.recorded) {
      RecordedOwner owner{.uid = e.uid, .gid = e.gid};
      if (e.type == EntryType::kCharDevice || e.type == EntryType::kBlockDevice) {
        owner.device_type = e.type == EntryType::kCharDevice ? S_IFCHR : S_IFBLK;
        owner.device_major = e.device_major;
        owner.device_minor = e.device_minor;
      }
      options_.owners.give(dir, name, owner, e.path.absolute());
    }
    if (e.type != EntryType::kSymlink && fchmodat(dir, name.c_str(), e.mode, 0) != 0)
      failed("set mode of", e);
  }

  void set_xattr(const Entry& e, const std::string& key, std::string_view value) {
    std::string path = root_ + "/" + e.path.str();
    if (lsetxattr(path.c_str(), key.c_str(), value.data(), value.size(), 0) != 0)
      failed("set " + key + " of", e);
  }

  void set_time(const Entry& e) {
    int64_t ns = e.time_ns.value_or(time_ns_);
    timespec times[2] = {to_timespec(ns), to_timespec(ns)};
    std::string path = e.path.is_root() ? "." : e.path.str();
    if (utimensat(top_.get(), path.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) failed("set time of", e);
  }

  [[noreturn]] void failed(std::string_view what, const Entry& e) {
    fail_errno("{} {}", what, e.path.absolute());
  }

  int64_t time_ns_;
  const Contents& contents_;
  std::string root_;
  const BodyOptions& options_;
  std::vector<const Entry*> linked_;
  UniqueFd top_;
  std::optional<UniqueFd> parent_;
  RootfsPath parent_path_;
};

}  // namespace

std::vector<const Entry*> make_directory_body(const Manifest& manifest, int64_t time,
                                              const Contents& contents, const std::string& path,
                                              const BodyOptions& options) {
  return BodyMaker(time, contents, path, options).make(manifest);
}

}  // namespace corten::store
