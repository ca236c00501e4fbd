#include "build/processor_slots.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"

namespace corten::build {

static constexpr auto kPause = std::chrono::milliseconds(20);
static constexpr int64_t kSilentWaitNs = 2'000'000'000;  // a short queue is no news

ProcessorSlots::ProcessorSlots(std::string directory, unsigned shared, std::string build)
    : directory_(std::move(directory)), build_(std::move(build)), shared_(shared) {
  make_directories_on_host(directory_, 0700);
}

ProcessorSlots::Slot::~Slot() {
  if (!owner_) return;
  std::lock_guard guard(owner_->mutex_);
  owner_->own_is_taken_ = false;
}

bool ProcessorSlots::try_take(std::string_view step, Slot& slot) {
  {
    std::lock_guard guard(mutex_);
    if (!std::exchange(own_is_taken_, true)) {
      slot.owner_ = this;
      return true;
    }
  }
  for (unsigned i = 0; i < shared_; i++) {
    std::string file = fmt::format("{}/{}", directory_, i);
    if (!FileLock::try_exclusive(file, slot.lock_)) continue;
    // For those who wait; that they cannot read it does no harm.
    UniqueFd text(open(file.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC));
    std::string line = fmt::format("build {}, {}", build_, step).substr(0, 200);
    if (text && write(text.get(), line.data(), line.size()) < 0) return true;
    return true;
  }
  return false;
}

std::string ProcessorSlots::taken_by() const {
  try {
    std::string name = read_file(fmt::format("{}/0", directory_), 4096);
    if (!name.empty()) return fmt::format(", one by {}", name);
  } catch (const Error&) {
    // It has no name yet.
  }
  return "";
}

ProcessorSlots::Slot ProcessorSlots::take(std::string_view step, const Cancellation& cancellation,
                                          const std::function<void(std::string_view)>& wait) {
  Slot slot;
  int64_t began = monotonic_ns();
  bool is_told = false;
  while (!try_take(step, slot)) {
    if (!is_told && monotonic_ns() - began >= kSilentWaitNs) {
      is_told = true;
      wait(fmt::format("waiting for a processor: {} steps are running{}", shared_ + 1, taken_by()));
    }
    if (cancellation.is_cancelled() && is_told) wait("");
    cancellation.check();
    std::this_thread::sleep_for(kPause);
  }
  if (is_told) wait("");
  return slot;
}

unsigned steps_at_once(unsigned processors) {
  constexpr unsigned kLeast = 4;
  if (const char* text = getenv("CORTEN_MAX_STEPS"); text && *text) {
    auto number = parse_int(text);
    if (!number || *number < 1 || *number > 10'000)
      fail(ErrorCode::kUsage, "CORTEN_MAX_STEPS={}: it is a number of steps, 1 to 10000", quote(text));
    return static_cast<unsigned>(*number);
  }
  return std::max(kLeast, processors);
}

std::string slots_directory(const std::string& store) {
  const char* runtime = getenv("XDG_RUNTIME_DIR");
  struct stat st;
  bool is_ours = runtime && *runtime == '/' && stat(runtime, &st) == 0 && S_ISDIR(st.st_mode) &&
                 st.st_uid == geteuid() && (st.st_mode & 0022) == 0 && access(runtime, W_OK) == 0;
  return is_ours ? fmt::format("{}/corten/slots", runtime) : store + "/run/slots";
}

}  // namespace corten::build
