// BuildKit's plain form, which scripts and people's eyes know: `#4 [build 2/5] RUN make`, `#4 0.123 a line`,
// `#4 DONE 0.5s`.
#include <map>
#include <mutex>
#include <utility>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "report/progress.h"
#include "report/terminal_text.h"

namespace corten::report {

namespace {

class PlainProgress : public Progress {
 public:
  explicit PlainProgress(const ProgressOptions& options) : fd_(options.fd), groups_(options.groups) {
    if (!options.headline.empty()) print("#0 " + options.headline + "\n\n");
  }

  void planned(const build::VertexInfo& vertex) override {
    std::lock_guard lock(mutex_);
    vertices_[vertex.id].name = one_line(vertex.name);
  }

  void started(int id) override {
    std::lock_guard lock(mutex_);
    Vertex& v = vertices_[id];
    v.number = ++numbers_;
    v.started_ns = monotonic_ns();
  }

  void output(int id, int stream, std::string_view bytes) override {
    std::lock_guard lock(mutex_);
    Vertex& v = vertices_[id];
    v.lines[stream == 2].add(bytes, [&](std::string_view line) {
      say(v, fmt::format("{:.3f} {}", age(v), output_line(line, false)));
    });
  }

  void note(int id, std::string_view text) override {
    if (text.empty()) return;
    std::lock_guard lock(mutex_);
    Vertex& v = vertices_[id];
    say(v, fmt::format("{:.3f} {}", age(v), one_line(text)));
  }

  void finished(int id, build::Outcome outcome, std::string_view error) override {
    std::lock_guard lock(mutex_);
    Vertex& v = vertices_[id];
    for (LineSplitter& lines : v.lines)
      lines.flush(
          [&](std::string_view line) { say(v, fmt::format("{:.3f} {}", age(v), output_line(line, false))); });
    // Why a step failed is seen without unfolding anything.
    if (outcome == build::Outcome::kFailed) close_group();
    switch (outcome) {
      case build::Outcome::kCached:
        say(v, "CACHED");
        break;
      case build::Outcome::kDone:
        say(v, "DONE " + seconds_text(monotonic_ns() - v.started_ns));
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
    bool is_named = false;
    int64_t started_ns = 0;
    LineSplitter lines[2];
  };

  static double age(const Vertex& v) { return static_cast<double>(monotonic_ns() - v.started_ns) / 1e9; }

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
  bool is_open_ = false;
  std::string section_;
  int sections_ = 0;
  std::mutex mutex_;
  std::map<int, Vertex> vertices_;
  int numbers_ = 0;
  int current_ = 0;
};

}  // namespace

std::unique_ptr<Progress> make_plain_progress(const ProgressOptions& options) {
  return std::make_unique<PlainProgress>(options);
}

}  // namespace corten::report
