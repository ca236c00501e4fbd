// The rows that show a build on a terminal, as a function of what happened, the time and the room there is.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "build/events.h"
#include "report/progress.h"

namespace corten::report {

// Not thread-safe. Times are nanoseconds of one clock.
class BuildPicture {
 public:
  BuildPicture(const ProgressOptions& options, int64_t began_ns)
      : colors_(options.colors),
        has_colors_(options.color),
        log_lines_(options.log_lines),
        began_ns_(began_ns) {}

  void planned(const build::VertexInfo& vertex);
  void started(int id, int64_t now_ns);
  void output(int id, int stream, std::string_view bytes);
  void note(int id, std::string_view text, int64_t now_ns);  // "" ends the wait
  void remark(int id, std::string_view text);
  void progressed(int id, const build::Amount& amount, int64_t now_ns) {
    vertices_[id].amount.set(amount, now_ns);
  }
  void finished(int id, build::Outcome outcome, int64_t now_ns);

  // At most size.rows - 1 of them: the cursor needs a line.
  std::vector<Row> rows(int64_t now_ns, TerminalSize size) const;
  // What stays on the screen after the build: every step, however many, cached ones folded.
  std::vector<Row> last_rows(int64_t now_ns) const;

 private:
  enum class State { kWaiting, kRunning, kDone, kCached, kFailed, kCancelled };
  struct Vertex {
    std::string name, note;
    State state = State::kWaiting;
    int64_t started_ns = 0, ended_ns = 0, note_ns = 0;
    ShownAmount amount;
    std::vector<std::string> remarks;
    std::deque<std::string> log;
    LineSplitter lines[2];
    int last_stream = 1;
  };

  std::string style(const std::string& parameters) const { return has_colors_ ? parameters : ""; }
  Row head(int64_t now_ns, std::string_view status) const;
  Row step(const Vertex& v, int64_t now_ns) const;
  std::vector<Row> step_with_wait(const Vertex& v, int64_t now_ns) const;
  Row folded(std::string_view word, size_t count) const;
  std::vector<std::string> last_output(const Vertex& v, size_t lines) const;
  size_t count(State state) const;
  std::vector<const Vertex*> in_order(bool (*wanted)(State)) const;

  Colors colors_;
  bool has_colors_;
  size_t log_lines_;
  int64_t began_ns_;
  std::map<int, Vertex> vertices_;
  std::vector<int> order_;  // as they started
};

}  // namespace corten::report
