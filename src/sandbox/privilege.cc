// Climbing: see privilege.h.
//
// A user namespace's map is written by somebody who is *outside*: a child that was forked before we went in.
// It runs newuidmap and newgidmap, which hold the one privilege that is needed, or writes the map itself when
// it may (root of a container, root with --userns).
#include "sandbox/privilege.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/subprocess.h"
#include "base/unique_fd.h"
#include "sandbox/id_mapping.h"
#include "sandbox/kernel.h"
#include "sandbox/recorder.h"

namespace corten::sandbox {

namespace {

enum class Writer { kHelpers, kOurselves };

bool has_capability(int capability) {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data[2] = {};
  return syscall(SYS_capget, &header, data) == 0 &&
         (data[capability / 32].effective >> (capability % 32) & 1) != 0;
}

std::string read_setting(const char* path) {
  try {
    return std::string(trim(read_file(path, 64)));
  } catch (const Error&) {
    return {};  // a kernel without that setting
  }
}

std::string namespaces_hint(int error) {
  if (error == ENOSPC) return "as root: sysctl -w user.max_user_namespaces=15000";
  if (read_setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1")
    return "as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or give corten an AppArmor "
           "profile with 'userns,' (Ubuntu 23.10 and later)";
  if (read_setting("/proc/sys/kernel/unprivileged_userns_clone") == "0")
    return "as root: sysctl -w kernel.unprivileged_userns_clone=1";
  if (read_setting("/proc/sys/user/max_user_namespaces") == "0")
    return "as root: sysctl -w user.max_user_namespaces=15000";
  return "a container or a chroot can forbid them: in Kubernetes set securityContext.seccompProfile.type to "
         "Unconfined, in Docker "
         "pass --security-opt seccomp=unconfined";
}

std::string subids_hint() {
  const std::string name = own_user_name();
  if (name.empty())
    return fmt::format("as root: echo {0}:100000:65536 | tee -a /etc/subuid >> /etc/subgid", getuid());
  return fmt::format("as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {}", name);
}

std::string map_text(const std::vector<IdRange>& ranges) {
  std::string text;
  for (const IdRange& range : ranges)
    text += fmt::format("{} {} {}\n", range.inside, range.outside, range.count);
  return text;
}

void run_helper(const char* program, pid_t pid, const std::vector<IdRange>& ranges) {
  std::vector<std::string> argv = {program, fmt::format("{}", pid)};
  for (const std::string& word : split_words(replace_all(map_text(ranges), "\n", " "))) argv.push_back(word);
  const SubprocessResult result = run_subprocess(argv);
  if (result.exit_code != 0)
    fail(ErrorCode::kPermission, "{}: {}", program, printable(trim(result.error_output)));
}

void write_maps(pid_t pid, const IdMapping& mapping, Writer writer) {
  if (writer == Writer::kHelpers) {
    run_helper("newuidmap", pid, mapping.uids);
    run_helper("newgidmap", pid, mapping.gids);
    return;
  }
  auto write_map = [&](const char* name, const std::vector<IdRange>& ranges) {
    const std::string path = fmt::format("/proc/{}/{}", pid, name);
    write_fully(open_file(path, O_WRONLY).get(), map_text(ranges), path);
  };
  write_map("uid_map", mapping.uids);
  write_map("gid_map", mapping.gids);
}

// Started outside; writes the maps when it is told that we are inside, and tells what went wrong.
class MapWriter {
 public:
  MapWriter(const IdMapping& mapping, Writer writer) {
    Pipe go = make_pipe(), answer = make_pipe();
    const pid_t parent = getpid();
    pid_ = fork();
    if (pid_ < 0) fail_errno("fork");
    if (pid_ == 0) {
      go.write.reset();
      answer.read.reset();
      _exit(serve(parent, mapping, writer, go.read.get(), answer.write.get()));
    }
    go_ = std::move(go.write);
    answer_ = std::move(answer.read);
  }
  ~MapWriter() {
    go_.reset();
    if (pid_ > 0)
      while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
      }
  }
  MapWriter(const MapWriter&) = delete;

  void write() {
    write_fully(go_.get(), "g", "map writer");
    const std::string answer = read_all(answer_.get(), "map writer", 64 << 10);
    if (answer != "ok")
      throw Error(ErrorCode::kPermission, answer.empty() ? "map writer: ended without an answer" : answer)
          .with_hint(
              "check that newuidmap and newgidmap (package uidmap) are setuid root, and the ranges of "
              "/etc/subuid and /etc/subgid");
  }

 private:
  static int serve(pid_t parent, const IdMapping& mapping, Writer writer, int go, int answer) {
    std::string text = "ok";
    try {
      char byte;
      if (read_fully(go, &byte, 1, "map writer") == 0) return 0;  // it failed before it needed us
      write_maps(parent, mapping, writer);
    } catch (const std::exception& error) {
      text = error.what();
    }
    return ::write(answer, text.data(), text.size()) < 0 ? 1 : 0;
  }

  pid_t pid_ = -1;
  UniqueFd go_, answer_;
};

void become_root_of_namespace() {
  if (setresgid(0, 0, 0) != 0 || setresuid(0, 0, 0) != 0) fail_errno("become 0:0 of the user namespace");
  prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);  // else our own /proc/PID belongs to the machine's root
}

// In a chroot "/" is no mount point: its propagation cannot be set, and nothing can be attached over it. Our
// namespace's own root, to which joining the namespace leads back, can be made private; a clone of the chroot
// over the chroot then is the mount point that is wanted. Every path means what it meant. We have one thread:
// setns(2) asks for it.
void make_chroot_a_mount() {
  const char* what = "make the root directory a mount point";
  char* held = get_current_dir_name();
  const std::string here = held ? held : "/";
  free(held);
  UniqueFd root(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  UniqueFd self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  if (!root || !self || setns(self.get(), CLONE_NEWNS) != 0)
    fail_errno("{}: go to the root of the namespace", what);
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) fail_errno("make the mounts private");
  UniqueFd clone(static_cast<int>(syscall(
      SYS_open_tree, root.get(), "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_EMPTY_PATH)));
  if (!clone) fail_errno("{}: clone it", what);
  if (syscall(SYS_move_mount, clone.get(), "", root.get(), "",
              MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0)
    fail_errno("{}: attach it", what);
  if (fchdir(clone.get()) != 0 || chroot(".") != 0) fail_errno("{}: enter it", what);
  if (chdir(here.c_str()) != 0) fail_errno("{}: go back to {}", what, here);
}

void make_mounts_private() {
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0) return;
  if (errno != EINVAL) fail_errno("make the mounts private");
  make_chroot_a_mount();
}

Entered enter_mount_namespace() {
  if (unshare(CLONE_NEWNS) != 0) fail_errno("make a mount namespace");
  make_mounts_private();
  return {.rung = Rung::kRoot, .mapping = {}, .in_own_user_namespace = false, .obstacles = {}};
}

[[noreturn]] void fail_unshare(int error) {
  Error failure = errno_error(error, "make a user namespace");
  failure.set_hint(namespaces_hint(error));
  throw failure;
}

Entered enter_user_namespace(const IdMapping& mapping, Writer writer) {
  MapWriter helper(mapping, writer);
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) fail_unshare(errno);
  helper.write();
  become_root_of_namespace();
  make_mounts_private();
  return {.rung = Rung::kRange, .mapping = mapping, .in_own_user_namespace = true, .obstacles = {}};
}

// Every id of our own namespace as itself: what the root of a container may give without newuidmap.
IdMapping identity_mapping() {
  IdMapping mapping{.uids = parse_id_map(read_file("/proc/self/uid_map")),
                    .gids = parse_id_map(read_file("/proc/self/gid_map"))};
  for (auto* ranges : {&mapping.uids, &mapping.gids})
    for (IdRange& range : *ranges) range.outside = range.inside;
  return mapping;
}

std::string subid_file(const char* path) {
  return path_exists(path) ? read_file(path, 16 << 20) : std::string();
}

IdMapping mapping_for_root_with_user_namespace() {
  const auto uids = parse_subids(subid_file("/etc/subuid"), "root", 0),
             gids = parse_subids(subid_file("/etc/subgid"), "root", 0);
  if (!uids || !gids)
    throw Error(ErrorCode::kPermission, "/etc/subuid, /etc/subgid: no range of ids for root")
        .with_hint(subids_hint());
  IdMapping mapping;
  mapping.uids = {{.inside = 0, .outside = 0, .count = 1},
                  {.inside = 1, .outside = uids->start, .count = uids->count}};
  mapping.gids = {{.inside = 0, .outside = 0, .count = 1},
                  {.inside = 1, .outside = gids->start, .count = gids->count}};
  return mapping;
}

void check_helpers() {
  for (const char* program : {"newuidmap", "newgidmap"})
    if (find_program(program).empty())
      throw Error(ErrorCode::kPermission, fmt::format("{}: not found", program))
          .with_hint("as root: apt-get install uidmap");
}

// Goes down the ladder from its top and stays on the first rung that holds.
class Climber {
 public:
  Entered climb() {
    for (const Step& step : kLadder) {
      if (is_forbidden(step.feature) || (is_forbidden(Feature::kUserNamespace) &&
                                         (step.rung == Rung::kRange || step.rung == Rung::kOneId))) {
        obstacles_.push_back({.rung = step.rung, .what = "forbidden by CORTEN_FORBID", .climb = {}});
        continue;
      }
      rung_ = step.rung;
      try {
        if (!(this->*step.attempt)()) continue;
      } catch (const Error& error) {
        obstacles_.push_back({.rung = rung_, .what = error.what(), .climb = error.hint()});
        continue;
      }
      return {.rung = rung_,
              .mapping = std::move(mapping_),
              .in_own_user_namespace = in_namespace_,
              .obstacles = std::move(obstacles_)};
    }
    return {.rung = Rung::kNothing,
            .mapping = std::move(mapping_),
            .in_own_user_namespace = in_namespace_,
            .obstacles = std::move(obstacles_)};
  }

 private:
  // False: not meant for us. What stands in the way is thrown.
  struct Step {
    Rung rung;
    Feature feature;
    bool (Climber::*attempt)();
  };
  static const Step kLadder[4];

  bool to_root() {
    if (uid_ != 0) return false;
    if (!has_capability(CAP_SYS_ADMIN))
      throw Error(ErrorCode::kPermission, "root has no CAP_SYS_ADMIN here, so it may not mount")
          .with_hint("in a container: --privileged");
    enter_mount_namespace();
    return true;
  }

  bool to_range() {
    IdMapping mapping;
    Writer writer = Writer::kHelpers;
    if (uid_ == 0) {
      for (int capability : {CAP_SETUID, CAP_SETGID, CAP_SETFCAP})
        if (!has_capability(capability))
          throw Error(ErrorCode::kPermission,
                      "root without CAP_SETUID, CAP_SETGID and CAP_SETFCAP cannot map ids")
              .with_hint("in a container: --cap-add SETUID,SETGID,SETFCAP");
      mapping = identity_mapping();
      writer = Writer::kOurselves;
    } else {
      const std::optional<IdMapping> planned = planned_mapping();
      if (!planned)
        throw Error(
            ErrorCode::kPermission,
            fmt::format("/etc/subuid, /etc/subgid: no range of ids for user {} ({})", own_user_name(), uid_))
            .with_hint(subids_hint());
      check_helpers();
      mapping = *planned;
    }
    MapWriter helper(mapping, writer);
    unshare_user();
    helper.write();
    mapping_ = std::move(mapping);
    settle();
    return true;
  }

  // Also in the namespace whose maps could not be written a moment ago; not in one where mounts are refused.
  bool to_one_id() {
    if (!mapping_.uids.empty()) return false;
    if (!can_record())
      throw Error(ErrorCode::kUnsupported,
                  "seccomp cannot ask a supervisor here, so owners could not be recorded")
          .with_hint(
              "run corten outside of whatever supervises its system calls (another build, a debugger)");
    if (!in_namespace_) unshare_user();
    prctl(PR_SET_DUMPABLE, 1, 0, 0,
          0);  // else the maps belong to the machine's root, if we were another just now
    auto write_own = [](const char* path, const std::string& text) {
      write_fully(open_file(path, O_WRONLY).get(), text, path);
    };
    write_own("/proc/self/setgroups", "deny");
    write_own("/proc/self/uid_map", fmt::format("0 {} 1\n", uid_));
    write_own("/proc/self/gid_map", fmt::format("0 {} 1\n", gid_));
    mapping_ = {.uids = {{.inside = 0, .outside = uid_, .count = 1}},
                .gids = {{.inside = 0, .outside = gid_, .count = 1}}};
    settle();
    return true;
  }

  // Also as the root of a user namespace that has ids, but no mounts.
  bool to_chroot() {
    if (geteuid() != 0 || mapping_.usable_ids() == 1) return false;  // nobody could record owners
    if (!has_capability(CAP_CHOWN) || !has_capability(CAP_SYS_CHROOT))
      throw Error(ErrorCode::kPermission, "root without CAP_CHOWN and CAP_SYS_CHROOT")
          .with_hint("in a container: --cap-add CHOWN,SYS_CHROOT");
    if (chroot("/") != 0) fail_errno("change the root directory");
    return true;
  }

  void unshare_user() {
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) fail_unshare(errno);
    in_namespace_ = true;
  }

  void settle() {
    become_root_of_namespace();
    try {
      make_mounts_private();
    } catch (Error& error) {
      error.set_hint(
          "a security module refuses mounts in user namespaces; in Docker: --security-opt "
          "apparmor=unconfined");
      throw;
    }
  }

  const uid_t uid_ = geteuid();  // as the machine, or the container, has them
  const gid_t gid_ = getegid();
  bool in_namespace_ = false;
  Rung rung_ = Rung::kRoot;
  IdMapping mapping_;
  std::vector<Obstacle> obstacles_;
};

const Climber::Step Climber::kLadder[4] = {
    {Rung::kRoot, Feature::kPrivilegedMounts, &Climber::to_root},
    {Rung::kRange, Feature::kIdRange, &Climber::to_range},
    {Rung::kOneId, Feature::kUserNamespace, &Climber::to_one_id},
    {Rung::kChrootOnly, Feature::kChroot, &Climber::to_chroot},
};

}  // namespace

std::string_view rung_name(Rung rung) {
  switch (rung) {
    case Rung::kRoot:
      return "root";
    case Rung::kRange:
      return "user namespace with a range of ids";
    case Rung::kOneId:
      return "user namespace with one id";
    case Rung::kChrootOnly:
      return "chroot only";
    case Rung::kNothing:
      break;
  }
  return "nothing";
}

Rung probe_privilege() {
  const pid_t pid = fork();
  if (pid < 0) fail_errno("fork");
  if (pid == 0) {
    int rung = static_cast<int>(Rung::kNothing);
    try {
      rung = static_cast<int>(enter().rung);
    } catch (const std::exception&) {
      rung = static_cast<int>(Rung::kNothing);
    }
    _exit(rung);
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) <= static_cast<int>(Rung::kNothing)
             ? static_cast<Rung>(WEXITSTATUS(status))
             : Rung::kNothing;
}

Entered enter(const EnterOptions& options) {
  if (geteuid() == 0 && options.user_namespace)
    return enter_user_namespace(mapping_for_root_with_user_namespace(), Writer::kOurselves);
  if (geteuid() == 0 && options.all_ids) {
    enter_user_namespace(identity_mapping(), Writer::kOurselves);
    return {.rung = Rung::kRoot, .mapping = {}, .in_own_user_namespace = true, .obstacles = {}};
  }
  return Climber().climb();
}

std::string limits_of(const Entered& entered) {
  switch (entered.rung) {
    case Rung::kOneId:
      return "owners are recorded for the layers, changes of user and device nodes are pretended";
    case Rung::kChrootOnly:
      return "steps are not isolated: they have this machine's network and processes, and no /proc; "
             "a step's secrets lie on the store's disk while it runs";
    case Rung::kNothing:
      return "no RUN can be executed";
    case Rung::kRoot:
    case Rung::kRange:
      break;
  }
  return {};
}

Obstacle main_obstacle(const Entered& entered) {
  Obstacle main;
  for (const Obstacle& obstacle : entered.obstacles)
    if (obstacle.rung == Rung::kRange || obstacle.rung == Rung::kOneId) main = obstacle;
  return main;
}

void require_namespaces(const Entered& entered, std::string_view who) {
  if (entered.has_namespaces()) return;
  const Obstacle obstacle = main_obstacle(entered);
  throw Error(ErrorCode::kUnsupported, fmt::format("{}: namespaces are not to be had here{}{}", who,
                                                   obstacle.what.empty() ? "" : "; ", obstacle.what))
      .with_hint(obstacle.climb.empty() ? "see 'corten doctor'" : obstacle.climb);
}

// A process that has just changed its ids and is on its way through exec(2) may not be looked at for a moment
// (ptrace(2), "dumpable"): it is asked again for up to two seconds.
static UniqueFd open_namespace_of(const std::string& path) {
  constexpr int kAttempts = 200;
  for (int attempt = 1;; attempt++) {
    UniqueFd ns(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (ns) return ns;
    if (errno != EACCES || attempt == kAttempts) fail_errno("open {}", path);
    usleep(10'000);
  }
}

Entered enter_of(pid_t pid) {
  const std::string theirs = fmt::format("/proc/{}/ns/user", pid);
  UniqueFd ns = open_namespace_of(theirs);
  struct stat there, here;
  if (fstat(ns.get(), &there) != 0 || stat("/proc/self/ns/user", &here) != 0) fail_errno("{}", theirs);
  if (there.st_ino == here.st_ino) return enter_mount_namespace();
  if (setns(ns.get(), CLONE_NEWUSER) != 0) fail_errno("enter {}", theirs);
  become_root_of_namespace();
  if (unshare(CLONE_NEWNS) != 0) fail_errno("make a mount namespace");
  make_mounts_private();
  Entered entered{.rung = Rung::kRange,
                  .mapping = {.uids = parse_id_map(read_file("/proc/self/uid_map")),
                              .gids = parse_id_map(read_file("/proc/self/gid_map"))},
                  .in_own_user_namespace = true,
                  .obstacles = {}};
  if (entered.mapping.usable_ids() == 1) entered.rung = Rung::kOneId;
  return entered;
}

void mount_memory(const HostPath& directory, uint64_t size_bytes) {
  std::string options = "mode=0700";
  if (size_bytes != 0) options += fmt::format(",size={}", size_bytes);
  if (mount("corten", directory.c_str(), "tmpfs", 0, options.c_str()) != 0)
    fail_errno("mount memory at {}", directory.value);
}

void unmount(const HostPath& directory) {
  if (umount2(directory.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0)
    fail_errno("unmount {}", directory.value);
}

}  // namespace corten::sandbox
