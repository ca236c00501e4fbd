// Control groups: what a step may use of memory and processors, what it used, and whether it was killed for
// it.
//
// A group is made for one process and goes away with it, below the group that we are in ourselves, one above
// it that we may write to (a delegated one of systemd's), or the one that the user names. Nothing is
// believed of a machine: each limit is written, and what cannot be is an error that says which limit, which
// controller, and where it was tried. A hybrid machine has the controllers of the second version and those of
// the first side by side; each limit takes the one that is there.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"

namespace corten::sandbox {

// Docker's names and meanings.
struct ResourceLimits {
  std::optional<uint64_t> memory_bytes;
  std::optional<int64_t>
      memory_swap_bytes;  // memory and swap together; -1: no limit; unset: twice the memory
  std::optional<int64_t> cpu_shares, cpu_period_us, cpu_quota_us;
  std::string cpuset_cpus, cpuset_mems;  // "0-2,4"
  std::string cgroup_parent;             // a path in the hierarchy, or systemd's name of a slice

  bool any() const { return *this != ResourceLimits(); }
  bool operator==(const ResourceLimits&) const = default;
};

// `memory=1g,cpu-quota=50000`; commas in a value's list (cpuset-cpus=0,1) are its own. Error(kUsage).
void parse_resource(std::string_view text, ResourceLimits& limits);
std::string limits_text(const ResourceLimits& limits);  // "memory=64MB cpu-quota=50000"

// A mounted hierarchy and our place in it.
struct CgroupHierarchy {
  bool is_v2 = false;
  std::string mount;                  // "/sys/fs/cgroup"
  std::string own;                    // the directory of our own group
  std::set<std::string> controllers;  // of the first version; those of the second are read where needed
};
// From the texts of /proc/self/mountinfo and /proc/self/cgroup.
std::vector<CgroupHierarchy> parse_hierarchies(std::string_view mountinfo, std::string_view cgroup);

class ControlGroup {
 public:
  // Error(kUnsupported) names a limit that cannot be enforced here.
  static ControlGroup make(const ResourceLimits& limits);
  // With other hierarchies than the machine's; `made` is called with each new directory (tests have no
  // kernel that puts files into it).
  static ControlGroup make(const ResourceLimits& limits, std::span<const CgroupHierarchy> hierarchies,
                           const std::function<void(const std::string&)>& made);
  ControlGroup(ControlGroup&&) = default;
  ControlGroup& operator=(ControlGroup&&) = delete;
  ~ControlGroup();  // its processes must be gone

  // Writing "0" to each puts the writer into the group.
  std::vector<int> entrances() const;
  struct Use {
    std::optional<uint64_t> peak_bytes;
    uint64_t killed = 0;  // processes, for lack of memory
  };
  Use use() const;

 private:
  ControlGroup() = default;
  struct Group {
    std::string directory;
    bool is_v2;
    UniqueFd entrance;
  };
  std::vector<Group> groups_;
};

// How often the kernel has killed a process for lack of memory since it started, on the whole machine.
uint64_t machine_out_of_memory_kills();

}  // namespace corten::sandbox
