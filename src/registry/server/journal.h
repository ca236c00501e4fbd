// How changes become durable, many at once.
//
// A registry may say 201 only when what it was given survives a crash. A sync for each request would bind it
// to the disk: hundreds a second. So a thread of its own takes all changes that wait, appends them as one
// record to a file (docs/formats/registry.md, "Journal") and syncs that file: one sync for whoever waits, and
// of a file that was filled with zeros before, so that the file system has nothing of its own to write. Then
// the changes are made in the tree, without a sync, and whoever waited is told. When the server starts it
// makes the changes of the journal again; they are all of a kind that can be made twice.
//
// There are two files. One that has grown to its limit is left for the other; a second thread then syncs the
// whole file system (syncfs(2)), after which the first file is not needed any more and may be overwritten.
// Big blobs are synced as files before the change that moves them to their place.
#pragma once
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "registry/server/tree.h"
#include "registry/server/usage.h"

namespace corten::registry::serving {

struct Change {
  enum class Kind : char {
    kPut = 'P',            // `path` has `data` as its contents
    kRemove = 'R',         // nothing is at `path`
    kMove = 'M',           // what lies at `path` lies at `data`
    kRemoveIfUnused = 'U'  // a kRemove, if Tree::remove_if_unused(before_s) finds it so; not written as such
  };
  Kind kind;
  std::string path, data;
  int64_t before_s = 0;
  // Of kPut: a file that has `data` already, which is moved instead of making one (not written to the
  // journal).
  std::string from = {};
  // Of kPut and kMove: what was taken of the registry's size for it. Settled when it is made, given back when
  // it will not be.
  std::shared_ptr<Taken> taken = {};

  static Change put(std::string path, std::string data) {
    return {Kind::kPut, std::move(path), std::move(data), 0, {}, {}};
  }
  static Change remove(std::string path) { return {Kind::kRemove, std::move(path), {}, 0, {}, {}}; }
  static Change move(std::string from, std::string to) {
    return {Kind::kMove, std::move(from), std::move(to), 0, {}, {}};
  }
  static Change remove_if_unused(std::string path, int64_t before_s) {
    return {Kind::kRemoveIfUnused, std::move(path), {}, before_s, {}, {}};
  }
  bool operator==(const Change&) const = default;
};

// The changes of one record, and back; nothing for bytes that are no such record. Pure.
std::string encode_record(uint64_t generation, const std::vector<const Change*>& changes);
struct Record {
  uint64_t generation = 0;
  std::vector<Change> changes;
  size_t size = 0;  // of the encoded form
};
std::optional<Record> decode_record(std::string_view bytes);

struct JournalOptions {
  uint64_t max_file_bytes = 32 << 20;
};

// Thread-safe.
class Journal {
 public:
  // On the journal's thread; `failure` when nothing of these changes may be relied upon.
  using Done = std::function<void(std::exception_ptr failure)>;

  // Makes the changes again that an earlier server wrote down; from then on the tree is whole.
  explicit Journal(Tree& tree, JournalOptions options = {});
  // Waits for what was given, and syncs.
  ~Journal();

  // In the order of the calls, these together. What is lost with the machine before `done` is lost as a
  // whole.
  void commit(std::vector<Change> changes, Done done);
  // Waits.
  void commit_now(std::vector<Change> changes);
  // Until the tree has all that was given before; an error when it refuses some of it still. For who decides
  // by what the tree has.
  void settle();

 private:
  struct Waiting {
    std::vector<Change> changes;
    Done done;
    bool settles = false;
  };
  void wait_for(Waiting waiting);
  void replay();
  void work();
  void sync_everything();  // the second thread
  std::exception_ptr write_and_make(std::vector<Waiting>& batch);
  void write_record(std::vector<const Change*> changes);
  void change_files();
  void make(const Change& change, bool again);
  std::exception_ptr make_all(std::vector<Change> changes);
  // What make_all() could not do; false while the tree still refuses it.
  bool make_unmade();

  Tree& tree_;
  const JournalOptions options_;
  std::mutex mutex_;
  std::condition_variable wake_, synced_;
  std::vector<Waiting> waiting_;
  bool closing_ = false, has_written_ = false;  // has_written_: the writer has ended, and wants no sync more
  bool sync_wanted_ = false, sync_runs_ = false;
  std::exception_ptr broken_;  // a sync failed: what the file holds is not known any more

  UniqueFd files_[2];
  uint64_t filled_[2] = {0, 0};  // bytes that are not a hole
  int current_ = 0;
  uint64_t offset_ = 0, generation_ = 1;
  // Written down, but the tree refused them (a full disk, say): tried again before each record, so that the
  // tree comes to have all of a record.
  std::vector<Change> unmade_;
  std::exception_ptr unmade_why_;
  std::thread writer_, syncer_;
};

}  // namespace corten::registry::serving
