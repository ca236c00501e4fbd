// How many RUN steps run at the same time on this machine, over all builds of a user.
//
// A slot is a file that a build holds locked (flock) while a step runs, so a killed build gives it back. Each
// build has one slot of its own beside the shared ones, as make gives each of its children one: a build
// always gets on, however many others there are, and a build that is started by a step cannot wait for that
// step. Who has a slot waits for nothing any more (locks of the key and of cache mounts are taken before), so
// slots cannot close a circle.
#pragma once
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

#include "base/thread_pool.h"
#include "base/unique_fd.h"

namespace corten::build {

class ProcessorSlots {
 public:
  // `directory` is made when missing; `shared` of them lie in it. `build` names us to others.
  ProcessorSlots(std::string directory, unsigned shared, std::string build);

  class Slot {
   public:
    Slot() = default;
    Slot(Slot&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)), lock_(std::move(other.lock_)) {}
    Slot& operator=(Slot&& other) noexcept {
      std::swap(owner_, other.owner_);
      std::swap(lock_, other.lock_);
      return *this;
    }
    ~Slot();

   private:
    friend class ProcessorSlots;
    ProcessorSlots* owner_ = nullptr;  // of the build's own slot
    FileLock lock_;                    // of a shared one
  };

  // Waits for one; `wait` is told who has them, and "" when that is over. Error(kCancelled). Thread-safe.
  Slot take(std::string_view step, const Cancellation& cancellation,
            const std::function<void(std::string_view)>& wait);

 private:
  bool try_take(std::string_view step, Slot& slot);
  std::string taken_by() const;

  std::string directory_, build_;
  unsigned shared_;
  std::mutex mutex_;
  bool own_is_taken_ = false;
};

// $CORTEN_MAX_STEPS, else the processors, at least four: steps wait for networks and disks too.
unsigned steps_at_once(unsigned processors);
// $XDG_RUNTIME_DIR/corten/slots when that directory is ours, else `store`/run/slots.
std::string slots_directory(const std::string& store);

}  // namespace corten::build
