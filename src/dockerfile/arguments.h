// How the arguments of each instruction are split into words; private to the line parser.
//
// A cursor walks the logical line, so that each word keeps its place. Source: BuildKit
// frontend/dockerfile/parser/{line_parsers,split_command}.go as measured; table in docs of the room's
// parser.h.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "dockerfile/parser.h"

namespace corten::dockerfile {

// A logical line and the places its parts come from.
class LogicalLine {
 public:
  explicit LogicalLine(std::string_view file) : file_(file) {}
  // `text` stands in the file at line and column.
  void append(std::string_view text, int line, int column);
  const std::string& text() const { return text_; }
  SourceSpan span_of(size_t begin, size_t end) const;

 private:
  struct Segment {
    size_t offset;
    int line;
    int column;
  };
  std::pair<int, int> place_of(size_t offset) const;
  std::string file_;
  std::string text_;
  std::vector<Segment> segments_;
};

// Splits [begin, end) of the line into keyword, flags and arguments. Throws Error(kInvalid) with a span.
Node parse_node(const LogicalLine& line, size_t begin, size_t end, char escape);

}  // namespace corten::dockerfile
