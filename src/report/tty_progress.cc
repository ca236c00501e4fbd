// The picture on a terminal: one line a step, running ones with their own clock and their last lines of
// output, redrawn ten times a second. Each frame is one write, so nothing flickers; cached steps are folded
// into one line when they are many.
#include <sys/ioctl.h>

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "report/progress.h"

namespace corten::report {

namespace {

constexpr size_t kLogLines = 6;
constexpr int64_t kFrameMs = 100;

// Cut to a number of columns; a byte that continues a UTF-8 character takes none.
std::string fit(std::string_view text, size_t columns) {
  std::string out;
  size_t used = 0;
  for (char c : text) {
    bool continues = (static_cast<uint8_t>(c) & 0xC0) == 0x80;
    if (!continues && used == columns) break;
    if (!continues) used++;
    out += c == '\t' ? ' ' : c;
  }
  return out;
}

class TtyProgress : public Progress {
 public:
  explicit TtyProgress(const ProgressOptions& options)
      : options_(options), began_ns_(monotonic_ns()), drawer_([this] { draw_until_finished(); }) {}
  ~TtyProgress() override { stop(); }

  void planned(const build::VertexInfo& vertex) override {
    std::lock_guard lock(mutex_);
    vertices_[vertex.id].name = one_line(vertex.name);
  }
  void started(int id) override {
    std::lock_guard lock(mutex_);
    vertices_[id].state = State::kRunning;
    vertices_[id].started_ns = monotonic_ns();
    order_.push_back(id);
  }
  void output(int id, int stream, std::string_view bytes) override {
    std::lock_guard lock(mutex_);
    Vertex& v = vertices_[id];
    v.lines[stream == 2].add(bytes, [&](std::string_view line) {
      v.log.push_back(printable(line));
      if (v.log.size() > kLogLines) v.log.pop_front();
    });
  }
  void note(int id, std::string_view text) override {
    std::lock_guard lock(mutex_);
    vertices_[id].note = one_line(text);
  }
  void finished(int id, build::Outcome outcome, std::string_view) override {
    std::lock_guard lock(mutex_);
    Vertex& v = vertices_[id];
    v.ended_ns = monotonic_ns();
    v.note.clear();
    switch (outcome) {
      case build::Outcome::kCached:
        v.state = State::kCached;
        break;
      case build::Outcome::kDone:
        v.state = State::kDone;
        break;
      case build::Outcome::kFailed:
        v.state = State::kFailed;
        break;
      case build::Outcome::kCancelled:
        v.state = State::kCancelled;
        break;
    }
  }
  void finish() override { stop(); }

 private:
  enum class State { kWaiting, kRunning, kDone, kCached, kFailed, kCancelled };
  struct Vertex {
    std::string name, note;
    State state = State::kWaiting;
    int64_t started_ns = 0, ended_ns = 0;
    std::deque<std::string> log;
    LineSplitter lines[2];
  };

  void stop() {
    {
      std::lock_guard lock(mutex_);
      if (finished_) return;
      finished_ = true;
    }
    wake_.notify_all();
    drawer_.join();
    std::lock_guard lock(mutex_);
    draw(true);
  }

  void draw_until_finished() {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, std::chrono::milliseconds(kFrameMs), [&] { return finished_; })) draw(false);
  }

  std::string color(std::string_view code, std::string text) const {
    return options_.color ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : text;
  }

  // A name on the left, a time on the right.
  std::string row(std::string_view mark, const std::string& name, const std::string& right, size_t columns,
                  std::string_view code) const {
    size_t room = columns > right.size() + mark.size() + 4 ? columns - right.size() - mark.size() - 4 : 10;
    std::string left = fit(name, room);
    size_t shown = 0;
    for (char c : left) shown += (static_cast<uint8_t>(c) & 0xC0) != 0x80;
    std::string line = fmt::format(" {} {}{}", mark, left, std::string(room > shown ? room - shown : 0, ' '));
    return color(code, line + " " + right) + "\n";
  }

  void draw(bool is_last) {
    winsize size{};
    if (ioctl(options_.fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) size = {24, 80, 0, 0};
    size_t columns = size.ws_col, rows = size.ws_row > 4 ? size.ws_row : 24;
    int64_t now = monotonic_ns();
    size_t done = 0, cached = 0;
    bool is_failed = false;
    for (const auto& [id, v] : vertices_) {
      done += v.state == State::kDone || v.state == State::kCached;
      cached += v.state == State::kCached;
      is_failed |= v.state == State::kFailed;
    }
    std::vector<std::string> body;
    size_t folded = 0;
    for (int id : order_) {
      const Vertex& v = vertices_[id];
      std::string time = seconds_text((v.ended_ns ? v.ended_ns : now) - v.started_ns);
      switch (v.state) {
        case State::kCached:
          if (cached > 3)
            folded++;
          else
            body.push_back(row("=>", "CACHED " + v.name, time, columns, options_.colors.run));
          break;
        case State::kDone:
          body.push_back(row("=>", v.name, time, columns, options_.colors.run));
          break;
        case State::kFailed:
          body.push_back(row("=>", "ERROR " + v.name, time, columns, options_.colors.error));
          break;
        case State::kCancelled:
          body.push_back(row("=>", "CANCELED " + v.name, time, columns, options_.colors.cancel));
          break;
        case State::kWaiting:
          break;
        case State::kRunning:
          body.push_back(row("=>", v.name, time, columns, "0"));
          if (!v.note.empty())
            body.push_back(color(options_.colors.warning, fit(" => => " + v.note, columns - 1)) + "\n");
          if (!is_last)
            for (const std::string& line : v.log)
              body.push_back(color(options_.colors.dim, fit(" => => # " + line, columns - 1)) + "\n");
          break;
      }
    }
    if (folded)
      body.insert(body.begin(),
                  row("=>", fmt::format("CACHED {} steps", folded), "", columns, options_.colors.run));
    // What does not fit is scrolled out at the top, except on the last picture.
    if (!is_last && body.size() + 2 > rows)
      body.erase(body.begin(), body.begin() + static_cast<long>(body.size() + 2 - rows));
    std::string status = is_last ? (is_failed ? "FAILED" : "FINISHED") : "";
    std::string head = fmt::format("[+] Building {} ({}/{}) {}{}", seconds_text(now - began_ns_), done,
                                   vertices_.size(), status, cached ? fmt::format(" {} cached", cached) : "");
    std::string frame;
    if (drawn_rows_) frame += fmt::format("\x1b[{}A\r\x1b[J", drawn_rows_);
    frame += "\x1b[?25l" + fit(head, columns - 1) + "\n";
    for (const std::string& line : body) frame += line;
    frame += "\x1b[?25h";
    drawn_rows_ = body.size() + 1;
    put(frame);
  }

  void put(const std::string& text) {
    try {
      write_fully(options_.fd, text, "progress");
    } catch (const Error&) {
      // The terminal is gone; the build goes on.
    }
  }

  ProgressOptions options_;
  int64_t began_ns_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool finished_ = false;
  std::map<int, Vertex> vertices_;
  std::vector<int> order_;
  size_t drawn_rows_ = 0;
  std::thread drawer_;
};

}  // namespace

std::unique_ptr<Progress> make_tty_progress(const ProgressOptions& options) {
  return std::make_unique<TtyProgress>(options);
}

}  // namespace corten::report
