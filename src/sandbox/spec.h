// The description of one process in a box of its own: a plain value, checked and turned into a plan by
// Process::start.
//
// Everything of this machine (paths, descriptors, numbers) is here, and nowhere else in a build: a step's
// identity never contains a Spec. Descriptors are borrowed: they must stay open until Process::start has
// returned, and directories must have been opened *after* enter() (the kernel refuses a layer that was opened
// in another mount namespace).
#pragma once
#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/path.h"

namespace corten::sandbox {

// A directory or file of this machine. The descriptor wins when there is one (O_PATH is enough). A path
// follows links: whoever resolves a name that an image or a Dockerfile gave must do so beneath a root
// (base/beneath.h) and pass the descriptor.
struct Source {
  HostPath path;
  int fd = -1;
  bool is_set() const { return fd >= 0 || !path.value.empty(); }
};

// The root file system. Either `plain`, or an overlay of `lowers`.
struct Root {
  std::vector<Source> lowers;  // top first, at most 500; none: an empty root
  HostPath upper, work;  // empty directories of one file system that is not an overlay; both unset: read-only
  Source plain;          // this directory itself, written through; wins over the overlay
  bool read_only = false;  // mount it read-only all the same (`run --read-only`)
};

struct Mount {
  enum class Kind {
    kBind,     // `source`, a file or a directory, with what is mounted in it
    kTmpfs,    // empty; takes the mode of the directory beneath when it was there (BuildKit), else `mode`
    kOverlay,  // writable view of directory `source`, whose writes go to upper/work, or to memory when these
               // are unset
  };
  Kind kind = Kind::kBind;
  RootfsPath target;  // links on the way are followed inside the root; missing parents are made, 0755, and
                      // reported as stubs
  Source source;
  HostPath upper, work;
  bool read_only = false;
  std::optional<mode_t> mode;          // of a tmpfs; default: as above, 01777 for a new directory
  std::optional<uint64_t> size_bytes;  // of a tmpfs; default: the kernel's (half of the memory)
  bool no_exec = false, no_suid = false, no_dev = false;
  // A bind without a source: a private file with this text (secrets, heredoc bodies), kept in memory only.
  std::optional<std::string> text;
  // Where nothing can be mounted the text lies on the disk: with a second name in Spec::secrets_place, and
  // overwritten afterwards.
  bool is_secret = false;
  mode_t text_mode = 0400;
  uid_t text_uid = 0;
  gid_t text_gid = 0;
};

enum class Network {
  kHost,  // this machine's
  kNone,  // its own, with `lo` only
  kJoin,  // the namespace `Spec::network_fd` (make_network_namespace() in network.h)
};

enum class Security {
  kDefault,   // Docker's capabilities and system call filter, masked /proc, read-only /sys
  kInsecure,  // all capabilities that we have, no filter, nothing masked (RUN --security=insecure, run
              // --privileged)
};

// "nofile=1024:2048"; RLIM_INFINITY for unlimited.
struct ResourceLimit {
  int resource;  // RLIMIT_NOFILE, ...
  rlim_t soft, hard;
};

class LockKeeper;
class Recorder;

struct Spec {
  Root root;
  std::vector<Mount> mounts;  // nested ones are ordered by target; of two on one target the later one wins

  std::vector<std::string>
      argv;  // argv[0] without a slash is looked up in PATH of `environment`, inside the root
  std::vector<std::string> environment;  // "NAME=value"; nothing is added
  RootfsPath directory;                  // must be there; the error names it

  uid_t uid = 0;  // ids as seen inside
  gid_t gid = 0;
  std::vector<gid_t> groups;  // supplementary

  // Without, the root is `root.plain`, entered with chroot(2), and mounts are put in place (chroot.h): their
  // sources are moved, so they are the step's alone.
  bool has_namespaces = true;
  HostPath secrets_place;  // then: an empty directory on the root's file system; unset: secrets are refused
  // Only one id exists (Entered::records_owners()): any uid and gid can be had, but no others beside them,
  // and no groups. With a recorder, borrowed for the process's life, owners are written down; without, they
  // and changes of user are only pretended for root, so that programs that ask for them go on.
  bool one_id = false;
  Recorder* recorder = nullptr;

  std::string hostname = "buildkitsandbox";
  Network network = Network::kHost;
  int network_fd = -1;
  // Placed over /etc/hosts and /etc/resolv.conf from private files, never written to the layer. Unset: not
  // placed.
  std::optional<std::string> etc_hosts, etc_resolv_conf;

  Security security = Security::kDefault;
  // Capability numbers that root has (CAP_*); unset: default_capabilities(), or all for kInsecure. What we
  // lack is left out.
  std::optional<std::vector<int>> capabilities;
  bool seccomp = true;  // the default filter; kInsecure switches it off too
  bool no_new_privileges = false;
  uint64_t shm_bytes = 64 << 20;
  // In addition to a core limit that nothing gets past (a core file would hold the step's secrets); name
  // RLIMIT_CORE to change it.
  std::vector<ResourceLimit> limits;

  std::vector<int> cgroup_entrances;  // ControlGroup::entrances(): entered before anything else

  int stdin_fd = -1;  // -1: /dev/null
  int stdout_fd = 1;
  int stderr_fd = 2;
  // Descriptors of locks that stay open as long as a process of the step lives, also when we are killed, and
  // that the step does not see (lock_keeper.h). Needs the keeper, where there are namespaces; without, they
  // are let go of in this order.
  std::vector<int> lock_fds;
  const LockKeeper* lock_keeper = nullptr;
  // Kill the process when the thread that started it ends (or we are killed).
  bool dies_with_parent = true;
  // Run inside the namespaces of this process (its pidfd) instead of making new ones (`exec`): root, mounts,
  // hostname, network, etc_* and shm_bytes are then not used. The caller must have entered its user namespace
  // (enter_of).
  int join_pidfd = -1;
};

// Docker's default set; CapBnd 00000000a80425fb.
std::vector<int> default_capabilities();
// "CAP_NET_ADMIN", "net_admin" and "ALL"-less names; empty for a name that no kernel has.
std::optional<int> parse_capability(std::string_view name);

}  // namespace corten::sandbox
