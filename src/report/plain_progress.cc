// BuildKit's plain form, which scripts and people's eyes know: `#4 [build 2/5] RUN make`, `#4 0.123 a line`,
// `#4 DONE 0.5s`.
//
// Lines are written when they come, each with its step's clock, and none is taken back or moved. What a step
// prints is never held up. States (a wait, bytes that were fetched) are told at most once a second for each
// step, the newest one. A step that says nothing for ten seconds says so, then after twenty more, forty, up
// to five minutes: a log stays short, and who reads it knows that something lives.
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "report/progress.h"
#include "report/terminal_text.h"
#include "report/ticker.h"

namespace corten::report {

namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kFirstSilence = 10 * kSecond, kLongestSilence = 300 * kSecond;
constexpr int64_t kTickMs = 250;

class PlainProgress : public Progress {
 public:
  explicit PlainProgress(const ProgressOptions& options)
      : fd_(options.fd), groups_(options.groups), clock_(options.clock) {
    if (!options.headline.empty()) print("#0 " + options.headline + "\n\n");
    if (options.has_ticker) ticker_ = std::make_unique<Ticker>(kTickMs, [this] { tick(); });
  }

  void planned(const build::VertexInfo& vertex) override {
    std::lock_guard lock(mutex_);
    vertices_[vertex.id].name = one_line(vertex.name);
  }

  void started(int id) override {
    std::lock_guard lock(mutex_);
    Vertex& v = vertices_[id];
    v.number = ++numbers_;
    v.is_running = true;
    v.started_ns = v.said_ns = now();
    v.told_ns = v.started_ns - kSecond;
  }

  void output(int id, int stream, std::string_view bytes) override {
    std::lock_guard lock(mutex_);
    Vertex& v = vertices_[id];
    v.last_stream = stream == 2;
    v.lines[stream == 2].add(bytes, [&](std::string_view line) { speak(v, output_line(line, false)); });
  }

  void note(int id, std::string_view text) override {
    std::lock_guard lock(mutex_);
    Vertex& v = vertices_[id];
    v.wait = one_line(text);
    v.news = v.wait;
    tell_news(v);
  }

  void remark(int id, std::string_view text) override {
    std::lock_guard lock(mutex_);
    Vertex& v = vertices_[id];
    v.said_ns = now();
    say(v, one_line(text));
  }

  void progressed(int id, const build::Amount& amount) override {
    std::lock_guard lock(mutex_);
    Vertex& v = vertices_[id];
    v.amount.set(amount, now());
    v.news = v.amount.text(now());
    tell_news(v);
  }

  void tick() override {
    std::lock_guard lock(mutex_);
    for (auto& [id, v] : vertices_) {
      if (!v.is_running) continue;
      tell_news(v);
      int64_t silence = now() - v.said_ns;
      if (silence < v.patience) continue;
      std::string_view unfinished = v.lines[v.last_stream].pending();
      std::string text = fmt::format("still running, nothing new for {}s", silence / kSecond);
      if (!v.wait.empty()) text = fmt::format("still {}", v.wait);
      if (!unfinished.empty()) text += ": " + output_line(unfinished.substr(0, kLongestUnfinished), false);
      int64_t patience = std::min(v.patience * 2, kLongestSilence);
      speak(v, text);
      v.patience = patience;
    }
  }

  void finish() override { ticker_.reset(); }

  void finished(int id, build::Outcome outcome, std::string_view error) override {
    std::lock_guard lock(mutex_);
    Vertex& v = vertices_[id];
    v.is_running = false;
    for (LineSplitter& lines : v.lines)
      lines.flush([&](std::string_view line) { speak(v, output_line(line, false)); });
    // Why a step failed is seen without unfolding anything.
    if (outcome == build::Outcome::kFailed) close_group();
    switch (outcome) {
      case build::Outcome::kCached:
        say(v, "CACHED");
        break;
      case build::Outcome::kDone:
        say(v, "DONE " + seconds_text(now() - v.started_ns));
        break;
      case build::Outcome::kFailed:
        say(v, "ERROR: " + one_line(error));
        break;
      case build::Outcome::kCancelled:
        say(v, "CANCELED");
        break;
    }
    close_group();
    print("\n");
    current_ = 0;
  }

 private:
  struct Vertex {
    std::string name;
    int number = 0;
    bool is_named = false, is_running = false;
    std::string wait;  // what it waits for
    std::string news;  // a state that is not told yet
    ShownAmount amount;
    int64_t started_ns = 0, said_ns = 0, told_ns = 0;
    int64_t patience = kFirstSilence;
    LineSplitter lines[2];
    bool last_stream = false;
  };
  static constexpr size_t kLongestUnfinished = 200;

  int64_t now() const { return clock_ ? clock_->now_ns() : monotonic_ns(); }

  // A line with the step's clock.
  void speak(Vertex& v, const std::string& text) {
    v.said_ns = now();
    v.patience = kFirstSilence;
    say(v, fmt::format("{:.3f} {}", static_cast<double>(v.said_ns - v.started_ns) / 1e9, text));
  }

  void tell_news(Vertex& v) {
    if (v.news.empty() || now() - v.told_ns < kSecond) return;
    v.told_ns = now();
    speak(v, std::exchange(v.news, {}));
  }

  // A line of a vertex; its name stands once before its first line, and the number again when another one
  // spoke between.
  void say(Vertex& v, const std::string& text) {
    if (current_ != 0 && current_ != v.number) {
      print(fmt::format("#{} ...\n", current_));
      close_group();
      print("\n");
    }
    if (!v.is_named || current_ != v.number) open_group(v);
    v.is_named = true;
    current_ = v.number;
    print(fmt::format("#{} {}\n", v.number, harmless(text)));
  }

  void open_group(const Vertex& v) {
    std::string title = fmt::format("#{} {}", v.number, harmless(v.name));
    section_ = fmt::format("corten_{}_{}", v.number, ++sections_);
    switch (groups_) {
      case LogGroups::kNone:
        print(title + "\n");
        return;
      case LogGroups::kGitHub:
        print("::group::" + title + "\n");
        break;
      case LogGroups::kGitLab:
        print(fmt::format("\x1b[0Ksection_start:{}:{}[collapsed=true]\r\x1b[0K{}\n", unix_time(), section_,
                          title));
        break;
      case LogGroups::kAzure:
        print("##[group]" + title + "\n");
        break;
    }
    is_open_ = true;
  }

  void close_group() {
    if (!std::exchange(is_open_, false)) return;
    if (groups_ == LogGroups::kGitHub) print("::endgroup::\n");
    if (groups_ == LogGroups::kGitLab)
      print(fmt::format("\x1b[0Ksection_end:{}:{}\r\x1b[0K\n", unix_time(), section_));
    if (groups_ == LogGroups::kAzure) print("##[endgroup]\n");
  }

  static int64_t unix_time() { return SystemClock().now_ns() / 1'000'000'000; }

  // A step's output must give no commands to the runner: Azure's and GitHub's older ones count anywhere in a
  // line. `::` counts only at its beginning, where our number stands.
  std::string harmless(std::string text) const {
    if (groups_ == LogGroups::kNone) return text;
    for (std::string_view mark : {"##[", "##vso["})
      for (size_t at = 0; (at = text.find(mark, at)) != std::string::npos; at += 3) text.insert(at + 2, " ");
    return text;
  }

  void print(const std::string& text) {
    try {
      write_fully(fd_, text, "progress");
    } catch (const Error&) {
      // Nobody listens any more; the build goes on.
    }
  }

  int fd_;
  LogGroups groups_;
  const Clock* clock_;
  bool is_open_ = false;
  std::string section_;
  int sections_ = 0;
  std::mutex mutex_;
  std::map<int, Vertex> vertices_;
  int numbers_ = 0;
  int current_ = 0;
  std::unique_ptr<Ticker> ticker_;  // last: it stops before the rest goes
};

}  // namespace

std::unique_ptr<Progress> make_plain_progress(const ProgressOptions& options) {
  return std::make_unique<PlainProgress>(options);
}

}  // namespace corten::report
