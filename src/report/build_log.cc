#include "report/build_log.h"

#include <fcntl.h>

#include <fmt/core.h>

#include "report/terminal_text.h"

namespace corten::report {

static constexpr size_t kLastLines = 20;

BuildLog::BuildLog(const std::string& file)
    : file_(file), fd_(open_file(file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600)) {}

void BuildLog::planned(const build::VertexInfo& vertex) {
  std::lock_guard lock(mutex_);
  vertices_[vertex.id].name = vertex.name;
  write_fully(fd_.get(), fmt::format("#{} {}\n", vertex.id, vertex.name), file_);
}

void BuildLog::add(int id, Vertex& v, std::string_view line) {
  v.last.push_back(output_line(line, false));
  if (v.last.size() > kLastLines) v.last.pop_front();
  write_fully(fd_.get(), fmt::format("{} {}\n", id, line), file_);
}

void BuildLog::output(int id, int stream, std::string_view bytes) {
  std::lock_guard lock(mutex_);
  Vertex& v = vertices_[id];
  v.lines[stream == 2].add(bytes, [&](std::string_view line) { add(id, v, line); });
}

void BuildLog::remark(int id, std::string_view text) {
  std::lock_guard lock(mutex_);
  write_fully(fd_.get(), fmt::format("#{} {}\n", id, one_line(text)), file_);
}

void BuildLog::finished(int id, build::Outcome outcome, std::string_view error) {
  std::lock_guard lock(mutex_);
  Vertex& v = vertices_[id];
  for (LineSplitter& lines : v.lines) lines.flush([&](std::string_view line) { add(id, v, line); });
  if (outcome != build::Outcome::kFailed) return;
  write_fully(fd_.get(), fmt::format("#{} ERROR: {}\n", id, error), file_);
  if (!failed_name_.empty()) return;
  failed_name_ = one_line(v.name);
  failed_lines_ = v.last;
}

}  // namespace corten::report
