// What the child does between clone and exec, as data.
//
// Each kernel subject (one file each) turns its part of a Spec into operations: an operation is a function of
// that file and its prepared operands. The child walks the list; it shares our memory (CLONE_VM), so it
// allocates, throws and logs nothing, and leaves the number and errno of the operation that failed, and the
// mount points that it made, in the Report. We are suspended meanwhile (CLONE_VFORK), so a large parent costs
// nothing and no pipe is needed.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "sandbox/process.h"
#include "sandbox/spec.h"

namespace corten::sandbox {

enum class ExecFailure { kNone, kNotInPath, kStat, kIsDirectory, kNotExecutable, kExecve };

struct Report {
  int failed_operation = -1;
  int error = 0;
  ExecFailure exec = ExecFailure::kNone;
  size_t exec_candidate = 0;
  // Mount points that were made: 'd' or 'f', the path below the root, a zero byte; one after the other.
  char stubs[32 << 10];
  size_t stubs_size = 0;
};

// What the operations of the child share.
struct Child {
  Report* report = nullptr;
  int root = -1;   // the root's mount
  int files = -1;  // the tmpfs that holds private files and an empty directory; never seen as a whole
  int dev = -1, proc = -1, sys = -1;
  uint64_t root_mount_id = 0;
};

struct Operation {
  int (*apply)(Child&, const Operation&) = nullptr;  // gives 0 or -errno
  std::string what;                                  // begins the message when it fails
  std::string text, text2;
  int fd = -1;
  uint64_t flags = 0;
  uint64_t number = 0;
  bool yes = false;
  std::vector<uint8_t> bytes;
};

class Plan {
 public:
  uint64_t clone_flags = 0;
  std::vector<Operation> operations;
  int root = -1, files = -1, dev = -1;  // descriptors that this plan owns, as Child has them
  uint64_t node_attributes = 0;         // of every mount: MOUNT_ATTR_NODEV but for insecure steps
  bool makes_nodes = false;             // of /dev, itself: then the step may make none
  bool one_id = false;                  // as the Spec has them, for the owners of files
  Recorder* recorder = nullptr;

  // Keeps the descriptor open until the plan is gone.
  int keep(UniqueFd fd) {
    fds_.push_back(std::move(fd));
    return fds_.back().get();
  }
  void add(Operation operation) { operations.push_back(std::move(operation)); }

  // A private file in the plan's tmpfs; gives its name there.
  std::string add_file(const std::string& text, mode_t mode, uid_t uid, gid_t gid, std::string_view what);

  std::vector<std::string> candidates;  // of the program, absolute or relative to the directory
  std::vector<char*> argv, envp;        // end with nullptr; point into the Spec

 private:
  std::vector<UniqueFd> fds_;
  size_t file_count_ = 0;
};

// `released` becomes a descriptor that reads as ended when nobody else holds the step's locks any more.
Plan make_plan(const Spec& spec, UniqueFd& released);

// In the child: does all of the plan and executes the program. Nothing may be allocated.
[[noreturn]] void become_program(const Plan& plan, Child& child);

// The mounts of the spec with the files of /etc, parents before what lies in them.
std::vector<Mount> mounts_in_order(const Spec& spec);
// Name, major and minor of what is in /dev.
void for_each_device(const std::function<void(const char*, unsigned, unsigned)>& visit);
std::vector<Stub> stubs_of(const Report& report);

// The parts, in the order in which the child applies them.
void plan_cgroup(const Spec& spec, Plan& plan);        // cgroup.cc
void plan_namespaces(const Spec& spec, Plan& plan);    // namespaces.cc
void plan_root(const Spec& spec, Plan& plan);          // mounts.cc
void plan_proc(const Spec& spec, Plan& plan);          // proc.cc
void plan_sys(const Spec& spec, Plan& plan);           // proc.cc
void plan_devices(const Spec& spec, Plan& plan);       // devices.cc
void plan_masks(const Spec& spec, Plan& plan);         // proc.cc
void plan_mounts(const Spec& spec, Plan& plan);        // mounts.cc
void plan_pivot(const Spec& spec, Plan& plan);         // mounts.cc
void plan_network(const Spec& spec, Plan& plan);       // network.cc
void plan_limits(const Spec& spec, Plan& plan);        // limits.cc
UniqueFd plan_locks(const Spec& spec, Plan& plan);     // lock_keeper.cc; gives `released`
void plan_one_id(const Spec& spec, Plan& plan);        // one_id.cc
void plan_no_new_privileges(Plan& plan);               // capabilities.cc
void plan_landlock(const Spec& spec, Plan& plan);      // landlock.cc
void plan_seccomp(const Spec& spec, Plan& plan);       // seccomp.cc
void plan_capabilities(const Spec& spec, Plan& plan);  // capabilities.cc
void plan_program(const Spec& spec, Plan& plan);       // program.cc

// Executes the program; comes back only when that failed, with the reason in the report.
void execute_program(const Plan& plan, Report& report);  // program.cc

// The capabilities that root is to have, less those that we lack.
uint64_t capability_bits(const Spec& spec);

}  // namespace corten::sandbox
