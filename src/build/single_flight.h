// One key, one execution, however many builds want it at the same time, in whatever processes.
//
// A step is run by its leader: who holds the lock of its key (flock on locks/KEY). The step's own processes
// inherit the lock's descriptor, so a killed leader is gone only when its step is; nothing has to be cleaned
// up, and no time-out guesses. Beside the lock lies the leader's log, locks/KEY.log: who leads, what the step
// prints, and how it ended. Who wants the lead meanwhile follows: shows that log as it grows, and knows when
// it gets the lock whether the leader was done (then there is an action), failed, was cancelled, or died
// without a word.
//
// A leader's files go away before it gives up the lock; those of a killed one when the next one leads. A lock
// that was waited for may therefore be one of a file without a name: then it is asked for again.
#pragma once
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/thread_pool.h"
#include "base/unique_fd.h"

namespace corten::build {

// The lead of one key, until it is destroyed.
class Lead {
 public:
  Lead(Lead&&) = delete;
  ~Lead();  // without ended(): cancelled

  // To be inherited by the step's processes.
  int lock_fd() const { return lock_.fd(); }
  // Opens the log for followers: from here on the step is executed. `build` and `step` name it to them.
  void begin(std::string_view build, std::string_view step);
  // What the step prints. Never fails: who cannot follow waits all the same. Thread-safe.
  void write(int stream, std::string_view bytes);
  enum class End { kDone, kFailed, kCancelled };
  void ended(End end, std::string_view error = {});

 private:
  friend class SingleFlight;
  Lead(std::string path, FileLock lock) : path_(std::move(path)), lock_(std::move(lock)) {}
  void append(char kind, std::string_view bytes);

  std::string path_;
  FileLock lock_;
  std::mutex mutex_;
  UniqueFd log_;
  uint64_t written_ = 0;
  bool is_ended_ = false;
};

// What became of the leader that was followed last.
struct Followed {
  enum class End { kNobody, kDone, kFailed, kCancelled, kDied } end = End::kNobody;
  std::string build, step;  // as the leader named itself; empty when it had not yet
  std::string error;        // of a failed one
};

// Whom a follower tells. All are called from the thread that waits.
struct FollowerWatch {
  std::function<void(int stream, std::string_view)> output;  // the leader's
  std::function<void(std::string_view)> wait;                // what is waited for; "" when that is over
};

class SingleFlight {
 public:
  // `directory`: the store's locks. `build` names this build to others.
  SingleFlight(std::string directory, std::string build, Cancellation cancellation)
      : directory_(std::move(directory)), build_(std::move(build)), cancellation_(std::move(cancellation)) {}

  struct Turn {
    std::unique_ptr<Lead> lead;  // always there
    Followed followed;
  };
  // Waits until nobody else leads this key. The caller then looks for the result once more before it begins.
  // Error(kCancelled) soon after a cancellation. Thread-safe; steps of one build follow each other too.
  Turn take(const Digest& key, const FollowerWatch& watch) const;

  const std::string& build() const { return build_; }

 private:
  std::string directory_, build_;
  Cancellation cancellation_;
};

}  // namespace corten::build
