#include "dockerfile/parser.h"

#include <algorithm>
#include <optional>

#include "base/strings.h"
#include "dockerfile/arguments.h"
#include "dockerfile/directives.h"
#include "dockerfile/heredoc.h"
#include "dockerfile/limits.h"
#include "dockerfile/lint.h"
#include "dockerfile/runes.h"

namespace corten::dockerfile {

namespace {

constexpr size_t kLongestLine = 65535;

std::string_view without_line_end(std::string_view line) {
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
  return line;
}

class LineParser {
 public:
  LineParser(std::string_view text, std::string_view file) : text_(text), file_(file) {}

  ParsedLines parse() {
    constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
    if (text_.empty()) throw Error(ErrorCode::kInvalid, "the Dockerfile cannot be empty").with_span(place(1));
    if (text_.substr(0, 3) == kByteOrderMark) text_.remove_prefix(3);
    while (auto line = next_line()) parse_from(*line);
    if (result_.nodes.empty())
      throw Error(ErrorCode::kInvalid, "file with no instructions").with_span(place(std::max(number_, 1)));
    result_.directives = directives_.directives();
    return std::move(result_);
  }

 private:
  SourceSpan place(int line, int column = 1) const { return {.file = file_, .line = line, .column = column}; }

  // The next line of the file with its line end.
  std::optional<std::string_view> next_line() {
    if (at_ >= text_.size()) return std::nullopt;
    size_t end = text_.find('\n', at_);
    size_t length = (end == std::string_view::npos ? text_.size() : end) - at_;
    number_++;
    if (length > kLongestLine)
      throw Error(ErrorCode::kInvalid,
                  fmt::format("dockerfile line greater than max allowed size of {}", kLongestLine))
          .with_span(place(number_));
    std::string_view line = text_.substr(at_, length + (end == std::string_view::npos ? 0 : 1));
    at_ += line.size();
    return line;
  }

  // Cuts the escape character and the blanks behind it off, if the line goes on. The character before must
  // not be another one: `\\` at the end of a line is text.
  bool take_continuation(std::string_view& line) const {
    char escape = directives_.directives().escape;
    size_t end = line.size();
    while (end > 0 && (line[end - 1] == ' ' || line[end - 1] == '\t')) end--;
    if (end == 0 || line[end - 1] != escape) return false;
    if (end > 1 && line[end - 2] == escape) return false;
    line = line.substr(0, end - 1);
    return true;
  }

  void parse_from(std::string_view first) {
    std::string_view whole = without_line_end(first);
    std::string_view line = trim_left_space(whole);
    int column = 1 + static_cast<int>(whole.size() - line.size());
    int start = number_;
    bool is_comment = !line.empty() && line[0] == '#';
    bool is_directive = directives_.add_line(line, place(number_, column));
    if (is_comment && !is_directive) remember_comment(line.substr(1));
    if (is_comment) return;

    bool goes_on = take_continuation(line);
    if (!goes_on && line.empty()) return;
    LogicalLine logical(file_);
    logical.append(line, start, column);
    if (goes_on) join_lines(logical);

    // A lone escape character makes an empty instruction; there is nothing in it to run.
    char escape = directives_.directives().escape;
    Node node = parse_node(logical, 0, logical.text().size(), escape);
    if (node.keyword.empty() && node.command.empty()) {
      throw Error(ErrorCode::kInvalid,
                  fmt::format("dockerfile parse error on line {}: unknown instruction: ", start))
          .with_span(place(start));
    }
    read_heredocs(node, logical.text(), start);
    node.span.line = start;
    node.span.column = column;
    if (number_ > node.span.end_line) {
      node.span.end_line = number_;
      node.span.end_column = 0;
    }
    node.comments = std::move(comments_);
    comments_.clear();
    if (result_.nodes.size() == kMostInstructions)
      throw Error(ErrorCode::kInvalid,
                  fmt::format("the Dockerfile has more than {} instructions", kMostInstructions))
          .with_span(node.span);
    result_.nodes.push_back(std::move(node));
  }

  void remember_comment(std::string_view text) {
    text = trim_space(text);
    if (text.empty())
      comments_.clear();
    else
      comments_.emplace_back(text);
  }

  // Empty lines in between are told of once, at the last line, where BuildKit has the place.
  void join_lines(LogicalLine& logical) {
    int empty = 0;
    for (bool goes_on = true; goes_on;) {
      auto next = next_line();
      if (!next) break;  // the end of the file ends the instruction
      std::string_view line = without_line_end(*next);
      std::string_view bare = trim_left_space(line);
      if (!bare.empty() && bare[0] == '#') continue;
      if (bare.empty()) {
        if (!empty) empty = number_;
        continue;
      }
      goes_on = take_continuation(line);
      logical.append(line, number_, 1);
    }
    if (!empty) return;
    result_.warnings.push_back(
        make_diagnostic("NoEmptyContinuation", "Empty continuation line", place(number_)));
    result_.warnings.back().word = place(empty);
  }

  void read_heredocs(Node& node, std::string_view line, int start) {
    const Node& carrier = node.trigger.empty() ? node : node.trigger[0];
    bool may_have = carrier.command == "run" || carrier.command == "copy" || carrier.command == "add";
    if (!may_have || carrier.is_json || line.find("<<") == std::string_view::npos) return;
    std::vector<Heredoc> marks;
    try {
      marks = find_heredoc_marks(line);
    } catch (Error& error) {
      error.set_span(node.span);
      throw;
    }
    for (Heredoc& heredoc : marks) {
      heredoc.span = place(number_ + 1);
      if (!read_body(heredoc)) {
        SourceSpan span = place(start);
        span.end_line = number_;
        throw Error(ErrorCode::kInvalid, "unterminated heredoc")
            .with_span(span)
            .with_hint(fmt::format("a line with nothing but {} must follow", heredoc.name));
      }
      node.heredocs.push_back(std::move(heredoc));
    }
  }

  bool read_body(Heredoc& heredoc) {
    while (auto line = next_line()) {
      std::string_view bare = without_line_end(*line);
      if (heredoc.chomp)
        while (!bare.empty() && bare[0] == '\t') bare.remove_prefix(1);
      if (bare == heredoc.name) {
        heredoc.span.end_line = std::max(heredoc.span.line, number_ - 1);
        return true;
      }
      heredoc.content += *line;
    }
    return false;
  }

  std::string_view text_;
  std::string file_;
  size_t at_ = 0;
  int number_ = 0;
  DirectiveParser directives_;
  std::vector<std::string> comments_;
  ParsedLines result_;
};

}  // namespace

ParsedLines parse_lines(std::string_view text, std::string_view file_name) {
  return LineParser(text, file_name).parse();
}

std::string Node::dump() const {
  std::string text = command;
  if (!flags.empty()) {
    text += " [";
    for (size_t i = 0; i < flags.size(); i++) text += (i ? " " : "") + quote(flags[i].text);
    text += "]";
  }
  for (const Node& inner : trigger) text += " (" + inner.dump() + ")";
  for (const Word& arg : args) text += " " + quote(arg.text);
  return text;
}

}  // namespace corten::dockerfile
