// Answers for owners, ids and device nodes where only one id exists (Rung::kOneId).
//
// The kernel refuses chown to an id that is not mapped, and package managers take that for an error. So a
// step has one more system call filter, whose calls wait for an answer (seccomp_unotify(2)) that a thread of
// ours gives:
//   chown family   the owner is written down (base/recorded_owner.h); a real chown to the one id is made too,
//                  since it does all the rest: refuses what is read-only, copies up, drops setuid bits
//   mknod          a device becomes an empty file with a record
//   stat family    answered when the record says otherwise than the inode does
//   set*id, setgroups   succeed without effect; by the filter alone, we are not asked
// A step of another user than root lives in a user namespace inside ours, where the one id has that user's
// number: getuid, new files and all are right by themselves. What the step makes belongs to that user.
//
// What is pretended stays pretence: a process that "became" another user may still read and write everything,
// getuid says 0, an opened device node is an empty file.
// Nothing of an answer depends on what the step may do later: a step that exchanges a path between question
// and answer records a wrong owner for a file of its own, and that is all.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "base/path.h"
#include "base/recorded_owner.h"

namespace corten::sandbox {

class Recorder {
 public:
  // A link, fifo or socket of the lower layers: they carry no record.
  struct Special {
    RootfsPath path;
    RecordedOwner owner;
  };
  // Who the step is. An inode without a record is theirs.
  struct Options {
    uid_t uid = 0;
    gid_t gid = 0;
    std::vector<Special> specials;
  };
  explicit Recorder(Options options);
  ~Recorder();  // after the processes have ended
  Recorder(const Recorder&) = delete;

  // Who owns the link, fifo or socket at that path of the root now, if it is known. When the step has ended.
  std::optional<RecordedOwner> owner_of_special(const RootfsPath& path) const;

  // For Process::start: records the owner of a file of ours; begins, with the root's mount, before the clone;
  // the socket to which the child sends its listener; and the news that the child has its own end of it.
  void record(int fd, const RecordedOwner& owner);
  void begin(int root_mount);
  int child_socket() const;
  void child_has_started();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// Whether the kernel has what a recorder needs, found by loading a filter in a child. No threads yet.
bool can_record();

}  // namespace corten::sandbox
