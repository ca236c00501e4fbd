// The whole output of a build on disk, and the last lines of each step at hand.
#pragma once
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "report/progress.h"

namespace corten::report {

// Writes `file`: lines of "ID text". Nothing is cut. Thread-safe.
class BuildLog : public build::Events {
 public:
  explicit BuildLog(const std::string& file);
  void planned(const build::VertexInfo& vertex) override;
  void output(int id, int stream, std::string_view bytes) override;
  void remark(int id, std::string_view text) override;
  void finished(int id, build::Outcome outcome, std::string_view error) override;

  // Of the step that failed first: its name and its last lines of output.
  std::string failed_name() const { return failed_name_; }
  std::vector<std::string> failed_lines() const { return {failed_lines_.begin(), failed_lines_.end()}; }
  const std::string& file() const { return file_; }

 private:
  struct Vertex {
    std::string name;
    LineSplitter lines[2];
    std::deque<std::string> last;
  };
  void add(int id, Vertex& v, std::string_view line);

  std::string file_;
  UniqueFd fd_;
  std::mutex mutex_;
  std::map<int, Vertex> vertices_;
  std::string failed_name_;
  std::deque<std::string> failed_lines_;
};

}  // namespace corten::report
