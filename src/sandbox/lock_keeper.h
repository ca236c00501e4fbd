// Who holds a step's locks until the step is dead, also when we are not there any more.
//
// When we are killed the kernel closes our files, and so frees our locks, before it tells the step's process
// 1 to die: for a moment another build could run the same step, or enter a cache mount that is locked, beside
// it. A step that inherited the locks would hold them too, but could unlock them (flock(2) works on what is
// shared), and its process 1 closes its files before the kernel kills the others of its namespace. So a
// process of our own holds them: a small one, forked before we are large, in a session of its own, which
// knows of each step a pidfd and the locks, and closes them when the pidfd says that the step is dead. (A
// pidfd of a process 1 says so after the last process of its namespace is gone.)
//
// The step's child sends both by itself, just before it executes the program. Until then it has the locks
// open, so there is no instant at which nobody holds them.
#pragma once
#include <sys/types.h>

#include "base/unique_fd.h"

namespace corten::sandbox {

class Plan;
struct Spec;

class LockKeeper {
 public:
  static constexpr size_t kMostLocks = 200;  // of one step; SCM_RIGHTS carries 253

  // Forks: cheapest when the process is small and has no threads yet.
  LockKeeper();
  ~LockKeeper();  // it ends when the last step that it knows is dead
  LockKeeper(const LockKeeper&) = delete;
  LockKeeper& operator=(const LockKeeper&) = delete;

  pid_t pid() const { return pid_; }
  int socket() const { return socket_.get(); }

 private:
  UniqueFd socket_;
  pid_t pid_ = -1;
};

}  // namespace corten::sandbox
