// One row a step, in the order they started, with its clock at the right edge; below a running one what it
// waits for (when that took five seconds) and its last lines of output. Cached steps are one row.
//
// When the screen is too small, what matters least goes first: finished steps become one row, oldest first;
// then running steps lose lines of output; then the running steps that do not fit are counted. Failed ones
// always stay.
#include "report/build_picture.h"

#include <algorithm>

#include <fmt/core.h>

#include "report/terminal_text.h"

namespace corten::report {

// Bytes of a line of output that are kept for the screen: wider than any terminal.
static constexpr size_t kLongestLine = 4096;

void BuildPicture::planned(const build::VertexInfo& vertex) {
  vertices_[vertex.id].name = one_line(std::string_view(vertex.name).substr(0, kLongestLine));
}

void BuildPicture::started(int id, int64_t now_ns) {
  Vertex& v = vertices_[id];
  v.state = State::kRunning;
  v.started_ns = now_ns;
  order_.push_back(id);
}

void BuildPicture::output(int id, int stream, std::string_view bytes) {
  Vertex& v = vertices_[id];
  v.last_stream = stream == 2 ? 2 : 1;
  v.lines[stream == 2].add(bytes, [&](std::string_view line) {
    v.log.push_back(output_line(line.substr(0, kLongestLine), has_colors_));
    if (v.log.size() > log_lines_) v.log.pop_front();
  });
}

void BuildPicture::note(int id, std::string_view text, int64_t now_ns) {
  Vertex& v = vertices_[id];
  v.note = one_line(text.substr(0, kLongestLine));
  v.note_ns = now_ns;
}

void BuildPicture::remark(int id, std::string_view text) {
  vertices_[id].remarks.push_back(one_line(text.substr(0, kLongestLine)));
}

void BuildPicture::finished(int id, build::Outcome outcome, int64_t now_ns) {
  Vertex& v = vertices_[id];
  v.ended_ns = now_ns;
  v.log.clear();
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

size_t BuildPicture::count(State state) const {
  return static_cast<size_t>(std::count_if(vertices_.begin(), vertices_.end(),
                                           [&](const auto& item) { return item.second.state == state; }));
}

std::vector<const BuildPicture::Vertex*> BuildPicture::in_order(bool (*wanted)(State)) const {
  std::vector<const Vertex*> found;
  for (int id : order_)
    if (const Vertex& v = vertices_.at(id); wanted(v.state)) found.push_back(&v);
  return found;
}

Row BuildPicture::head(int64_t now_ns, std::string_view status) const {
  size_t cached = count(State::kCached), running = count(State::kRunning);
  std::string text = fmt::format("[+] Building {} ({}/{})", seconds_text(now_ns - began_ns_),
                                 count(State::kDone) + cached, vertices_.size());
  if (!status.empty()) text += fmt::format(" {}", status);
  if (cached) text += fmt::format(", {} cached", cached);
  if (running && status.empty()) text += fmt::format(", {} running", running);
  return {text, "", ""};
}

Row BuildPicture::step(const Vertex& v, int64_t now_ns) const {
  std::string clock = seconds_text((v.ended_ns ? v.ended_ns : now_ns) - v.started_ns);
  switch (v.state) {
    case State::kCached:
      return {" => CACHED " + v.name, clock, style(colors_.run)};
    case State::kFailed:
      return {" => ERROR " + v.name, clock, style(colors_.error)};
    case State::kCancelled:
      return {" => CANCELED " + v.name, clock, style(colors_.cancel)};
    case State::kDone:
      return {" => " + v.name, clock, style(colors_.run)};
    case State::kRunning:
    case State::kWaiting:
      break;
  }
  return {" => " + v.name, clock, ""};
}

std::vector<Row> BuildPicture::step_with_wait(const Vertex& v, int64_t now_ns) const {
  std::vector<Row> rows = {step(v, now_ns)};
  if (v.state != State::kRunning) return rows;
  for (const std::string& remark : v.remarks) rows.push_back({" => => " + remark, "", style(colors_.dim)});
  if (v.amount.is_counted())
    rows.push_back({" => => " + v.amount.text(now_ns), "", ""});
  else if (!v.note.empty() && now_ns - v.note_ns >= kNamedWaitNs)
    rows.push_back({" => => " + v.note, seconds_text(now_ns - v.note_ns), style(colors_.warning)});
  return rows;
}

Row BuildPicture::folded(std::string_view word, size_t count) const {
  return {fmt::format(" => {} {} steps", word, count), "", style(colors_.run)};
}

std::vector<std::string> BuildPicture::last_output(const Vertex& v, size_t lines) const {
  std::vector<std::string> log(v.log.begin(), v.log.end());
  std::string_view pending = v.lines[v.last_stream == 2].pending();
  if (!pending.empty()) log.push_back(output_line(pending.substr(0, kLongestLine), has_colors_));
  if (log.size() > lines) log.erase(log.begin(), log.end() - static_cast<long>(lines));
  return log;
}

std::vector<Row> BuildPicture::rows(int64_t now_ns, TerminalSize size) const {
  std::vector<Row> rows = {head(now_ns, "")};
  auto finished = in_order([](State s) { return s == State::kDone || s == State::kCancelled; });
  auto cached = in_order([](State s) { return s == State::kCached; });
  auto open = in_order([](State s) { return s == State::kRunning || s == State::kFailed; });

  // Rows that must be there, then those of output, then those of finished steps.
  const size_t room = size.rows > 2 ? size.rows - 2 : 0;
  size_t needed = cached.empty() ? 0 : 1;
  for (const Vertex* v : open) needed += step_with_wait(*v, now_ns).size();
  size_t least = finished.empty() ? 0 : 1;
  auto output_rows = [&](size_t lines) {
    size_t sum = 0;
    for (const Vertex* v : open)
      if (v->state == State::kRunning) sum += last_output(*v, lines).size();
    return sum;
  };
  size_t lines = log_lines_;
  while (lines > 0 && needed + least + output_rows(lines) > room) lines--;
  size_t used = needed + output_rows(lines);
  size_t spare = room > used ? room - used : 0;

  if (cached.size() == 1) rows.push_back(step(*cached.front(), now_ns));
  if (cached.size() > 1) rows.push_back(folded("CACHED", cached.size()));
  size_t hidden = finished.size() > spare ? finished.size() - (spare ? spare - 1 : 0) : 0;
  if (hidden && spare) rows.push_back(folded("DONE", hidden));
  // The order of starting is kept between the finished and the others.
  std::vector<const Vertex*> left_out(finished.begin(), finished.begin() + static_cast<long>(hidden));
  size_t overflow = needed > room ? needed - room + 1 : 0;  // one row says how many
  size_t unseen = 0;
  for (int id : order_) {
    const Vertex& v = vertices_.at(id);
    if (v.state == State::kCached || std::find(left_out.begin(), left_out.end(), &v) != left_out.end())
      continue;
    std::vector<Row> own = step_with_wait(v, now_ns);
    if (overflow && v.state == State::kRunning && rows.size() + own.size() > room) {
      unseen++;
      continue;
    }
    rows.insert(rows.end(), own.begin(), own.end());
    if (v.state != State::kRunning) continue;
    for (const std::string& line : last_output(v, lines))
      rows.push_back({" => => # " + line, "", style(colors_.dim)});
  }
  if (unseen) rows.push_back({fmt::format(" => and {} more running", unseen), "", ""});
  if (rows.size() >= size.rows) rows.resize(std::max<size_t>(1, size.rows - 1));
  return rows;
}

std::vector<Row> BuildPicture::last_rows(int64_t now_ns) const {
  std::string_view status = count(State::kFailed)                                ? "FAILED"
                            : count(State::kCancelled) || count(State::kRunning) ? "CANCELED"
                                                                                 : "FINISHED";
  std::vector<Row> rows = {head(now_ns, status)};
  size_t cached = count(State::kCached);
  if (cached > 1) rows.push_back(folded("CACHED", cached));
  for (int id : order_)
    if (const Vertex& v = vertices_.at(id); v.state != State::kCached || cached == 1) {
      rows.push_back(step(v, now_ns));
      for (const std::string& remark : v.remarks)
        rows.push_back({" => => " + remark, "", style(colors_.dim)});
    }
  return rows;
}

}  // namespace corten::report
