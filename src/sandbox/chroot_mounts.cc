#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "base/beneath.h"
#include "base/error.h"
#include "sandbox/chroot.h"
#include "sandbox/target.h"

namespace corten::sandbox {

namespace {

void rename_to(const std::string& from, const std::string& to, std::string_view what) {
  if (rename(from.c_str(), to.c_str()) == 0) return;
  Error error = errno_error(errno, fmt::format("{}: move {} to {}", what, from, to));
  if (errno == EXDEV)
    error.set_hint(
        "where nothing can be mounted, all that a step uses lies on one file system: put the store on a "
        "volume (CORTEN_STORE=DIR)");
  throw error;
}

}  // namespace

ChrootMounts::ChrootMounts(const Spec& spec)
    : root_path_(spec.root.plain.path.value),
      secrets_place_(spec.secrets_place.value),
      report_(std::make_unique<Report>()) {
  root_ = open_file(root_path_, O_PATH | O_DIRECTORY);
  root_path_ = path_of(root_.get(), "root");
  aside_ = TempDir::make(HostPath{root_path_}.parent(), "aside-");
  child_.report = report_.get();
  child_.root = root_.get();
  child_.root_mount_id = mount_id_of(root_.get());
  try {
    for (const char* name : {"proc", "sys"})
      if (mkdirat(root_.get(), name, 0755) != 0 && errno != EEXIST) fail_errno("make /{}", name);
    place_devices();
    note_placed();
    for (const Mount& mount : mounts_in_order(spec)) {
      place(mount);
      note_placed();
    }
  } catch (const Error&) {
    take_away();
    throw;
  }
}

ChrootMounts::~ChrootMounts() {
  try {
    take_away();
  } catch (const Error&) {
    return;  // the tree is thrown away then
  }
}

// Makes room: gives the host path of the target, at which nothing is now.
std::string ChrootMounts::clear(const std::string& target, bool is_directory, bool note,
                                mode_t& mode_before) {
  Target found;
  if (int result = resolve_target(child_, target.c_str(), is_directory, note, found); result != 0)
    throw errno_error(-result, what_);
  UniqueFd fd(found.fd);
  std::string path = path_of(fd.get(), what_);
  if (path.size() <= root_path_.size() || !path.starts_with(root_path_ + "/"))
    fail(ErrorCode::kInvalid, "{}: leads out of the root", what_);
  struct stat st;
  if (fstat(fd.get(), &st) != 0) fail_errno("{}", what_);
  mode_before = st.st_mode & 07777;
  Placed placed{.at = path, .goes_to = {}, .lay_here = {}};
  if (found.made && note) {
    if ((is_directory ? rmdir(path.c_str()) : unlink(path.c_str())) != 0) fail_errno("{}", what_);
    mode_before = 01777;
  } else {
    placed.lay_here = fmt::format("{}/{}", aside_.path(), placed_.size());
    rename_to(path, placed.lay_here, what_);
    put_back_.push_back({.path = RootfsPath(path.substr(root_path_.size() + 1)),
                         .is_directory = is_directory,
                         .was_there = true});
  }
  placed_.push_back(std::move(placed));
  return path;
}

void ChrootMounts::make_text(const std::string& path, const Mount& mount) {
  std::string first = path;
  if (mount.is_secret) {
    if (secrets_place_.empty()) fail(ErrorCode::kInternal, "{}: a secret has no place", what_);
    first = fmt::format("{}/{}", secrets_place_, placed_.size());
  }
  UniqueFd file = open_file(first, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
  if (mount.is_secret) placed_.back().secret = first;
  if (mount.is_secret && link(first.c_str(), path.c_str()) != 0) fail_errno("{}", what_);
  write_fully(file.get(), *mount.text, what_);
  if (fchown(file.get(), mount.text_uid, mount.text_gid) != 0 || fchmod(file.get(), mount.text_mode) != 0)
    fail_errno("{}: set owner and mode", what_);
  file.close_checked(what_);
}

void ChrootMounts::place(const Mount& mount) {
  if (mount.target.is_root()) fail(ErrorCode::kInvalid, "invalid mount target \"/\"");
  what_ = fmt::format("mount {}", mount.target.absolute());
  const std::string& target = mount.target.str();
  mode_t mode = 0;
  if (mount.text) return make_text(clear(target, false, true, mode), mount);
  if (mount.kind == Mount::Kind::kTmpfs) {
    const std::string path = clear(target, true, true, mode);
    if (mkdir(path.c_str(), 0700) != 0 || chmod(path.c_str(), mount.mode.value_or(mode)) != 0)
      fail_errno("{}", what_);
    return;
  }
  if (mount.kind == Mount::Kind::kOverlay)
    fail(ErrorCode::kUnsupported,
         "{}: a writable view of a directory needs mounts, which are not to be had here", what_);
  UniqueFd source = mount.source.fd >= 0 ? UniqueFd(fcntl(mount.source.fd, F_DUPFD_CLOEXEC, 3))
                                         : open_file(mount.source.path.value, O_PATH);
  struct stat st;
  if (!source || fstat(source.get(), &st) != 0) fail_errno("{}", what_);
  const std::string from = path_of(source.get(), what_),
                    path = clear(target, S_ISDIR(st.st_mode), true, mode);
  rename_to(from, path, what_);
  placed_.back().goes_to = from;
}

// As devices.cc has them. Without CAP_MKNOD there are none: programs can do without, mostly.
void ChrootMounts::place_devices() {
  what_ = "make /dev";
  mode_t mode = 0;
  const std::string dev = clear("dev", true, false, mode);
  auto make = [&](const char* name, mode_t directory_mode) {
    const std::string path = name[0] == 0 ? dev : fmt::format("{}/{}", dev, name);
    if (mkdir(path.c_str(), 0755) != 0 || chmod(path.c_str(), directory_mode) != 0) fail_errno("{}", what_);
  };
  make("", 0755);
  make("pts", 0755);
  make("shm", 01777);
  for_each_device([&](const char* name, unsigned major, unsigned minor) {
    const std::string path = fmt::format("{}/{}", dev, name);
    if (mknod(path.c_str(), S_IFCHR | 0666, makedev(major, minor)) == 0) {
      if (chmod(path.c_str(), 0666) != 0) fail_errno("{}", what_);
    } else if (errno != EPERM) {
      fail_errno("{}", path);
    }
  });
}

// The step may have moved directories and laid links in their place: a path that it could change is only
// believed when no link is on the way, and what lies there is what was put there.
void ChrootMounts::check_in_place(const Placed& placed) const {
  if (placed.inode == 0) return;  // nothing has run yet
  const RootfsPath inside(placed.at.substr(root_path_.size() + 1));
  auto parent = open_no_links(root_.get(), inside.parent().str(), O_PATH | O_DIRECTORY);
  struct stat st;
  const std::string name(inside.filename());
  if (parent && fstatat(parent->get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
      st.st_ino == placed.inode && st.st_dev == placed.device)
    return;
  throw Error(ErrorCode::kFailed, fmt::format("{}: the step took it from its place", inside.absolute()))
      .with_hint(
          "where nothing can be mounted, a mount is a file or a directory of the root: leave it, and the "
          "directories "
          "above it, where they are");
}

// Notes what was put there, for check_in_place().
void ChrootMounts::note_placed() {
  struct stat st;
  if (placed_.empty() || lstat(placed_.back().at.c_str(), &st) != 0) return;
  placed_.back().inode = st.st_ino;
  placed_.back().device = st.st_dev;
}

// Wherever the step moved it. What was written to the disk is written over there; a file system that never
// writes in place keeps the old blocks until it needs them.
void ChrootMounts::forget_secret(const Placed& placed) {
  if (placed.secret.empty()) return;
  struct stat st;
  const UniqueFd file = open_file(placed.secret, O_WRONLY | O_NOFOLLOW);
  if (fstat(file.get(), &st) != 0) fail_errno("stat {}", placed.secret);
  constexpr off_t kMostBytes = 1 << 20;  // no secret is larger; the step may have made it larger
  write_fully(file.get(), std::string(static_cast<size_t>(std::min(st.st_size, kMostBytes)), '\0'),
              "a secret");
  if (fdatasync(file.get()) != 0) fail_errno("overwrite a secret");
  if (unlink(placed.secret.c_str()) != 0) fail_errno("remove a secret");
}

std::vector<Stub> ChrootMounts::take_away() {
  std::optional<Error> moved;
  for (; !placed_.empty(); placed_.pop_back()) {
    const Placed& placed = placed_.back();
    const std::string what = "take away a mount";
    try {
      forget_secret(placed);
    } catch (const Error& error) {
      if (!moved) moved = error;  // the rest goes home all the same
    }
    try {
      check_in_place(placed);
    } catch (const Error& error) {
      if (!moved) moved = error;
      continue;
    }
    if (!placed.goes_to.empty())
      rename_to(placed.at, placed.goes_to, what);
    else
      remove_tree(placed.at);
    if (!placed.lay_here.empty()) rename_to(placed.lay_here, placed.at, what);
  }
  if (moved) throw Error(*moved);
  std::vector<Stub> stubs = stubs_of(*report_);
  stubs.insert(stubs.end(), put_back_.begin(), put_back_.end());
  return stubs;
}

}  // namespace corten::sandbox
