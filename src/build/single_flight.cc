#include "build/single_flight.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>

#include <fmt/core.h>

#include "base/error.h"
#include "base/json.h"

namespace corten::build {

namespace {

// The log: frames of a kind (one byte), a length (le32) and that many bytes.
constexpr char kHeader = 'h';  // JSON: build, step
constexpr char kOutput = '1', kErrors = '2';
constexpr char kDone = 'd', kFailed = 'f', kCancelled = 'c';
constexpr size_t kFrameHead = 5, kLongestFrame = 1 << 20;
constexpr uint64_t kLongestLog = 64 << 20;  // what a follower is shown at most; the build's own log has all
constexpr auto kPause = std::chrono::milliseconds(20);
constexpr int kPausesForAName = 5;  // a leader that has just begun may name itself first

bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

// Reads a leader's log as it grows.
class LogTail {
 public:
  LogTail(std::string path, const FollowerWatch& watch) : path_(std::move(path)), watch_(watch) {}

  const Followed& followed() const { return followed_; }

  // A new leader has a new file; what was known of the old one is forgotten.
  void look() {
    struct stat named, open;
    if (stat(path_.c_str(), &named) == 0 &&
        (!file_ || fstat(file_.get(), &open) != 0 || !same_file(named, open))) {
      read();
      UniqueFd next(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
      if (next) {
        file_ = std::move(next);
        offset_ = 0;
        rest_.clear();
        followed_ = {.end = Followed::End::kDied};
      }
    }
    read();
  }

  void read() {
    char buffer[64 << 10];
    while (file_) {
      ssize_t n = pread(file_.get(), buffer, sizeof buffer, offset_);
      if (n <= 0) return;
      offset_ += n;
      rest_.append(buffer, static_cast<size_t>(n));
      take_frames();
    }
  }

 private:
  void take_frames() {
    size_t at = 0;
    while (rest_.size() - at >= kFrameHead) {
      uint32_t length;
      std::memcpy(&length, rest_.data() + at + 1, 4);
      if (length > kLongestFrame) return file_.reset();  // no log of ours
      if (rest_.size() - at - kFrameHead < length) break;
      take(rest_[at], std::string_view(rest_).substr(at + kFrameHead, length));
      at += kFrameHead + length;
    }
    rest_.erase(0, at);
  }

  void take(char kind, std::string_view bytes) {
    switch (kind) {
      case kHeader: {
        try {
          Json header = Json::parse(bytes);
          followed_.build = header.get_string("build");
          followed_.step = header.get_string("step");
        } catch (const Error&) {
          // A step whose name is no UTF-8: it is followed without one.
        }
        return;
      }
      case kOutput:
      case kErrors:
        return watch_.output(kind - '0', bytes);
      case kDone:
        followed_.end = Followed::End::kDone;
        return;
      case kCancelled:
        followed_.end = Followed::End::kCancelled;
        return;
      case kFailed:
        followed_.end = Followed::End::kFailed;
        followed_.error = bytes;
        return;
      default:
        return;  // of a later version
    }
  }

  std::string path_;
  const FollowerWatch& watch_;
  UniqueFd file_;
  off_t offset_ = 0;
  std::string rest_;
  Followed followed_;
};

std::string wait_text(const Followed& leader, const std::string& own_build) {
  if (leader.build.empty()) return "waiting for another build that runs the same step";
  if (leader.build == own_build) return fmt::format("waiting for {}, which is the same step", leader.step);
  return fmt::format("waiting for another build that runs the same step: build {}, {}", leader.build,
                     leader.step);
}

}  // namespace

SingleFlight::Turn SingleFlight::take(const Digest& key, const FollowerWatch& watch) const {
  std::string path = directory_ + "/" + key.hex();
  FileLock lock;
  std::optional<LogTail> tail;
  std::string told;
  for (int pauses = 0; !FileLock::try_exclusive(path, lock); pauses++) {
    if (!tail) tail.emplace(path + ".log", watch);
    tail->look();
    if (pauses >= kPausesForAName || !tail->followed().build.empty()) {
      std::string text = wait_text(tail->followed(), build_);
      if (text != told) watch.wait(told = text);
    }
    if (cancellation_.is_cancelled() && !told.empty()) watch.wait("");
    cancellation_.check();
    std::this_thread::sleep_for(kPause);
  }
  Turn turn;
  if (tail) tail->read();
  if (!told.empty()) watch.wait("");
  if (tail) turn.followed = tail->followed();
  turn.lead.reset(new Lead(path, std::move(lock)));
  return turn;
}

void Lead::begin(std::string_view build, std::string_view step) {
  std::lock_guard guard(mutex_);
  std::string file = path_ + ".log";
  unlink(file.c_str());  // of a leader that was killed
  log_ = UniqueFd(open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600));
  append(kHeader, Json::object({{"build", build}, {"step", step}}).dump());
}

void Lead::append(char kind, std::string_view bytes) {
  while (log_) {
    std::string_view part = bytes.substr(0, kLongestFrame);
    uint32_t length = static_cast<uint32_t>(part.size());
    std::string frame(kFrameHead, kind);
    std::memcpy(frame.data() + 1, &length, 4);
    frame += part;
    try {
      write_fully(log_.get(), frame, "log");
    } catch (const Error&) {
      log_.reset();  // a full disk: followers see no more of it
    }
    bytes.remove_prefix(part.size());
    if (bytes.empty()) return;
  }
}

void Lead::write(int stream, std::string_view bytes) {
  std::lock_guard guard(mutex_);
  if (written_ > kLongestLog || !log_) return;
  written_ += bytes.size();
  append(stream == 2 ? kErrors : kOutput, bytes);
  if (written_ > kLongestLog) append(kErrors, "\n(the log of the build that runs the step has the rest)\n");
}

void Lead::ended(End end, std::string_view error) {
  std::lock_guard guard(mutex_);
  is_ended_ = true;
  if (!log_) return;
  switch (end) {
    case End::kDone:
      return append(kDone, "");
    case End::kFailed:
      return append(kFailed, error.substr(0, kLongestFrame));
    case End::kCancelled:
      return append(kCancelled, "");
  }
}

Lead::~Lead() {
  if (!is_ended_) ended(End::kCancelled);
  if (log_) unlink((path_ + ".log").c_str());
  unlink(path_.c_str());
}

}  // namespace corten::build
