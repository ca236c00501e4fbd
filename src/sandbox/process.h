// A running process in its box.
//
// Unless it joined another's namespaces, it is process 1 of a pid namespace: when it ends, or is killed, the
// kernel kills all that it started, and wait() returns after the last of them is gone and their mounts with
// them. So the upper directory is at rest when wait() has returned.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "sandbox/spec.h"

namespace corten::sandbox {

struct ResourceUse {
  int64_t user_ns = 0, system_ns = 0;  // processor time, with all descendants that were waited for
  uint64_t max_resident_bytes = 0;     // of the largest process
};

struct Exit {
  int code = 0;    // the program's own; 127 program not found, 126 not executable (then exec_error says why);
                   // 128 + signal
  int signal = 0;  // that killed it, or 0
  // Not empty: the program never started, and `code` is ours. runc's words: `exec: "x": executable file not
  // found in $PATH`.
  std::string exec_error;
  ResourceUse use;
  bool is_success() const { return code == 0; }
};

// A mount point that did not exist and was made in the root for a mount. /proc, /sys and /dev are not among
// them: they stay in the layer, as with BuildKit.
struct Stub {
  RootfsPath path;  // where it is, with links resolved
  bool is_directory = true;
  bool was_there =
      false;  // not made, but out of the way meanwhile, and put back: where nothing can be mounted
};

class ChrootRun;
class Plan;
struct Report;

class Process {
 public:
  // Sets everything up and starts the program. Throws Error when the box cannot be made; the message names
  // the part (mount target, layer, limit). A program that cannot be executed is no error but an Exit.
  // Thread-safe; needs enter() before.
  static Process start(const Spec& spec);

  Process(Process&&) noexcept;
  Process& operator=(Process&&) noexcept;
  ~Process();  // kills and waits, if nobody has waited

  Exit wait();  // once; blocks until all processes of the box are gone
  // SIGKILL to all of it; does nothing when it is gone. Any thread may, as long as this lives: also while
  // another is in wait().
  void kill() noexcept;
  void signal(int number);                    // to process 1, which ignores what it has no handler for
  int pidfd() const { return pidfd_.get(); }  // becomes readable when it has ended
  pid_t pid() const { return pid_; }          // as we see it
  // Why the program was never started, in runc's words; "" when it was. wait() then gives the code.
  const std::string& exec_error() const { return exec_error_; }
  // After wait(), where nothing can be mounted. In the order in which they were made: remove them from the
  // upper in reverse, if they are still empty.
  const std::vector<Stub>& stubs() const { return stubs_; }

 private:
  Process();
  static Process start_in_chroot(const Spec& spec);
  // Until nobody else holds its locks: then they are free when we let go of them.
  void wait_for_locks() noexcept;
  void note_start(const Plan& plan, const Report& report);
  UniqueFd pidfd_;  // open until the end, for kill(): its number must not come to name something else
  UniqueFd released_;
  pid_t pid_ = -1;
  bool is_over_ = false;  // wait() has seen its end
  std::string exec_error_;
  int exec_code_ = 0;
  std::vector<Stub> stubs_;
  std::unique_ptr<ChrootRun> chroot_;
};

}  // namespace corten::sandbox
