// The displays of a build in progress. Each is a listener of build::Events and is thread-safe.
#pragma once
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "build/events.h"
#include "report/colors.h"
#include "report/screen_painter.h"

namespace corten::report {

enum class ProgressMode { kAuto, kTty, kPlain, kRawJson, kQuiet };
// auto, tty, plain, rawjson, quiet, none; Error(kUsage) `invalid progress mode x`.
ProgressMode parse_progress_mode(std::string_view text);

// How the log of a CI system folds lines.
enum class LogGroups { kNone, kGitHub, kGitLab, kAzure };
// From GITHUB_ACTIONS, GITLAB_CI and TF_BUILD.
LogGroups log_groups_of_environment();

struct ProgressOptions {
  ProgressMode mode = ProgressMode::kAuto;
  int fd = 2;
  bool color = false;  // NO_COLOR unset and a terminal
  Colors colors;
  std::string headline;                 // "linux/amd64 as root"
  LogGroups groups = LogGroups::kNone;  // plain: each step's lines are a group
  std::string source;                   // the Dockerfile's text, for warnings in rawjson
  size_t log_lines = 6;                 // tty: last lines of a running step's output (BUILDKIT_TTY_LOG_LINES)

  // What tests hand in: a clock instead of the monotonic one, a terminal's size, and no thread that calls
  // tick().
  const Clock* clock = nullptr;
  std::function<TerminalSize()> terminal_size;
  bool has_ticker = true;
};

// What a display says of a step that waits or says nothing.
constexpr int64_t kNamedWaitNs = 5'000'000'000;

class Progress : public build::Events {
 public:
  // Draws what is left and gives the terminal back. Call once, after the build.
  virtual void finish() {}
  // Shows what time alone has changed; called by a thread of the display's own.
  virtual void tick() {}
};

// kAuto becomes kTty on a terminal, kPlain elsewhere.
std::unique_ptr<Progress> make_progress(const ProgressOptions& options);

std::unique_ptr<Progress> make_plain_progress(const ProgressOptions& options);
std::unique_ptr<Progress> make_tty_progress(const ProgressOptions& options);
std::unique_ptr<Progress> make_rawjson_progress(const ProgressOptions& options);

// Hands each event to several listeners, in order.
class Fan : public build::Events {
 public:
  explicit Fan(std::vector<build::Events*> listeners) : listeners_(std::move(listeners)) {}
  void planned(const build::VertexInfo& v) override {
    for (auto* l : listeners_) l->planned(v);
  }
  void started(int id) override {
    for (auto* l : listeners_) l->started(id);
  }
  void output(int id, int stream, std::string_view bytes) override {
    for (auto* l : listeners_) l->output(id, stream, bytes);
  }
  void note(int id, std::string_view text) override {
    for (auto* l : listeners_) l->note(id, text);
  }
  void remark(int id, std::string_view text) override {
    for (auto* l : listeners_) l->remark(id, text);
  }
  void progressed(int id, const build::Amount& amount) override {
    for (auto* l : listeners_) l->progressed(id, amount);
  }
  void finished(int id, build::Outcome outcome, std::string_view error) override {
    for (auto* l : listeners_) l->finished(id, outcome, error);
  }
  void warning(const build::Warning& warning) override {
    for (auto* l : listeners_) l->warning(warning);
  }

 private:
  std::vector<build::Events*> listeners_;
};

// The block at a build's end: how many warnings, and each with its place and page; "" when there are none.
std::string warnings_text(const std::vector<build::Warning>& warnings, const ProgressOptions& options);

// Bytes to whole lines: what is not ended yet is kept for each key.
class LineSplitter {
 public:
  // Calls `line` for each whole line, without its end; a carriage return starts the line anew, as on a
  // terminal.
  void add(std::string_view bytes, const std::function<void(std::string_view)>& line);
  void flush(const std::function<void(std::string_view)>& line);
  // The line that has not ended yet: a progress bar's last state.
  std::string_view pending() const;

 private:
  std::string rest_;
};

std::string seconds_text(int64_t ns);  // "1.2s"

// An amount as it is shown, with speed and remaining time once it has gone on for a second.
class ShownAmount {
 public:
  void set(const build::Amount& amount, int64_t now_ns);
  bool is_counted() const { return !amount_.what.empty() && !amount_.is_complete; }
  // "https://host/file 1.2MB / 3MB, 0.6MB/s, 3s left"
  std::string text(int64_t now_ns) const;

 private:
  build::Amount amount_;
  int64_t began_ns_ = 0;
  uint64_t began_at_ = 0;
};

}  // namespace corten::report
