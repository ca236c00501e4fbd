// What this process may do, and the way to the most of it.
//
// The ladder, each rung found by doing it, never by reading sysctls: real root; a user namespace with a range
// of ids; a user namespace with one id; chroot only; nothing. enter() climbs as high as it can. On the first
// three the process is then uid 0 of a private mount namespace, and one code mounts and deletes; on the third
// owners are records (base/recorded_owner.h) and a recorder (recorder.h) answers for them.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/path.h"

namespace corten::sandbox {

enum class Rung {
  kRoot,        // uid 0 with CAP_SYS_ADMIN over the machine
  kRange,       // a user namespace with a range of ids
  kOneId,       // a user namespace in which only our own id exists
  kChrootOnly,  // uid 0 without namespaces (a default pod)
  kNothing,
};
std::string_view rung_name(Rung rung);  // "root", "user namespace with a range of ids", ...

// Tries the rungs in children, best first. Costs some milliseconds. Call before threads are made.
Rung probe_privilege();

// One run of ids: `inside`..`inside+count` are `outside`.. on the machine.
struct IdRange {
  uint32_t inside = 0, outside = 0, count = 0;
  auto operator<=>(const IdRange&) const = default;
};

// Which ids of the machine stand for the ids of an image. A value.
struct IdMapping {
  std::vector<IdRange> uids, gids;  // empty: every id is itself (root)

  // Names the mapping (a body made under one mapping is no body under another): "root", or
  // "1000,100000+65536", and "UIDS/GIDS" when the two differ.
  std::string to_string() const;
  uint32_t usable_ids() const;  // ids from 0 on that both sides have; 2^32-1 for root
  bool has(uint32_t uid, uint32_t gid) const;
  bool operator==(const IdMapping&) const = default;
};

// What kept us from a better rung, and the line that climbs it.
struct Obstacle {
  Rung rung = Rung::kRoot;  // the one that was not reached
  std::string what, climb;
};

struct Entered {
  Rung rung = Rung::kNothing;
  IdMapping mapping;
  bool in_own_user_namespace = false;
  std::vector<Obstacle> obstacles;  // the lowest rung last

  bool records_owners() const { return rung == Rung::kOneId; }
  bool has_namespaces() const { return rung != Rung::kChrootOnly && rung != Rung::kNothing; }
};

// What is different on this rung from what a user may expect, for the first line of a build: "" on the two
// best.
std::string limits_of(const Entered& entered);

// What keeps us from namespaces, as the step with the best prospects found it.
Obstacle main_obstacle(const Entered& entered);

// Error(kUnsupported) `WHO: ... are not possible here` with the way up, where there are no namespaces.
void require_namespaces(const Entered& entered, std::string_view who);

struct EnterOptions {
  bool user_namespace = false;  // as root too (`--userns`)
  bool all_ids = false;         // as root a user namespace in which every id is itself
};

// Climbs: as root a private mount namespace; as an ordinary user, or as the root of a container, also a user
// namespace (as the former with the first range of /etc/subuid and /etc/subgid, or the only id there is),
// where we become 0:0. Once, by a process that has no threads yet; not undone. What is not to be had is among
// the obstacles; Error(kPermission) when something that `options` ask for is.
Entered enter(const EnterOptions& options = {});

// Enters the user namespace in which that process lives, if it is not ours, and becomes 0:0 there (for
// `exec`, `stop`). Gives an Entered as enter() does. No threads yet.
Entered enter_of(pid_t pid);

// The mapping that enter() wants for an ordinary user, without doing it; empty when there is no range.
std::optional<IdMapping> planned_mapping();

// A tmpfs at that directory, seen by this process and its children only; for stores on file systems that
// carry no upper. After enter(). size_bytes 0: the kernel's default.
void mount_memory(const HostPath& directory, uint64_t size_bytes = 0);
void unmount(const HostPath& directory);

}  // namespace corten::sandbox
