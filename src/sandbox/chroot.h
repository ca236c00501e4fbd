// A step where nothing can be mounted and no namespace be had: root in a default pod (Rung::kChrootOnly).
//
// The step runs in a copy of its whole root, which Spec::root.plain names, with chroot(2). That is no
// isolation, and nothing here claims so: its processes see the machine's network and processes, and there is
// no /proc. What can be done is done: capabilities, the system call filter, no new privileges, and Landlock,
// which keeps files outside of the root and signals to others out of reach where the kernel has it.
//
// What would be mounted is put in its place instead, by rename, and taken away afterwards: a cache mount or a
// bind (which the caller has made for this step alone) moves in and out again, a private file or /dev is
// made, and what was there lies aside meanwhile.
//
// No process of the step may be left when its files are looked at. Without a pid namespace the step is the
// child of a process of ours that adopts all orphans below it (PR_SET_CHILD_SUBREAPER) and kills until none
// is left; it does so too when it is told to (SIGTERM), or when we die.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "sandbox/plan.h"
#include "sandbox/process.h"

namespace corten::sandbox {

class ChrootMounts {
 public:
  explicit ChrootMounts(const Spec& spec);
  ~ChrootMounts();  // takes all away, if nobody has
  ChrootMounts(const ChrootMounts&) = delete;

  // Throws when something cannot be put back. Gives the stubs, as Process::stubs().
  std::vector<Stub> take_away();
  int root() const { return root_.get(); }

 private:
  struct Placed {
    std::string at;        // host path
    std::string goes_to;   // what is there moves back to; "" it is deleted
    std::string lay_here;  // what was there before; "" nothing
    std::string secret;    // a second name of the file, by which it is overwritten; "" no secret
    ino_t inode = 0;       // of what was put there, once it is
    dev_t device = 0;
  };
  void note_placed();
  void check_in_place(const Placed& placed) const;
  void place_devices();
  void place(const Mount& mount);
  std::string clear(const std::string& target, bool is_directory, bool note, mode_t& mode_before);
  void make_text(const std::string& path, const Mount& mount);

  static void forget_secret(const Placed& placed);

  std::string root_path_, secrets_place_;
  UniqueFd root_;
  TempDir aside_;
  std::unique_ptr<Report> report_;
  Child child_;
  std::vector<Placed> placed_;
  std::vector<Stub> put_back_;
  std::string what_;
};

// The step's process and those that look after it.
class ChrootRun {
 public:
  explicit ChrootRun(const Spec& spec);
  ~ChrootRun();
  ChrootRun(const ChrootRun&) = delete;

  // Starts the keeper, which starts the program; comes back when that is executing, or failed.
  void start(pid_t& keeper, int& pidfd);
  const Report& report() const { return shared_->report; }
  const Plan& plan() const { return plan_; }
  void forget_plan() { plan_ = Plan(); }  // and with it the descriptors that the step has now
  // When the keeper has ended.
  int status() const { return shared_->status; }
  const rusage& use() const { return shared_->use; }
  ChrootMounts& mounts() { return mounts_; }

 private:
  struct Shared {  // with the keeper
    Report report;
    int status;
    rusage use;
  };
  [[noreturn]] void keep(int ready);

  ChrootMounts mounts_;
  Plan plan_;
  Shared* shared_;
  std::vector<int> lock_fds_;
  std::unique_ptr<char[]> stack_;
};

}  // namespace corten::sandbox
