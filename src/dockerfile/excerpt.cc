#include "dockerfile/excerpt.h"

#include <algorithm>
#include <vector>

#include "base/strings.h"
#include "dockerfile/runes.h"

namespace corten::dockerfile {

namespace {

constexpr int kContext = 2;           // lines before and after
constexpr int kMostMarked = 20;       // longer spans are cut
constexpr size_t kLongestLine = 300;  // bytes shown
constexpr std::string_view kRule = "--------------------\n";

// Where the column stands, in characters; tabs stay tabs, so that the caret lines up.
std::string caret_line(std::string_view line, int column) {
  std::string result;
  for (size_t at = 0; at < line.size() && at < static_cast<size_t>(column - 1);) {
    Rune rune = rune_at(line, at);
    result += rune.code == '\t' ? '\t' : ' ';
    at += rune.length;
  }
  return result + "^";
}

}  // namespace

std::string masked_credentials(std::string text) {
  for (size_t at = text.find("://"); at != text.npos; at = text.find("://", at + 3)) {
    size_t begin = at + 3, end = std::min(text.find_first_of("/?# \t\n\"'", begin), text.size());
    size_t sign = text.substr(0, end).rfind('@');
    if (sign == text.npos || sign <= begin) continue;
    std::fill(text.begin() + static_cast<ptrdiff_t>(begin), text.begin() + static_cast<ptrdiff_t>(sign), '*');
  }
  return text;
}

std::string render_excerpt(std::string_view text, const SourceSpan& span) {
  std::vector<std::string> lines = split(text, '\n');
  int count = static_cast<int>(lines.size());
  if (span.line < 1 || span.line > count) return {};
  int last_marked = std::clamp(span.end_line, span.line, count);
  bool is_cut = last_marked - span.line >= kMostMarked;
  if (is_cut) last_marked = span.line + kMostMarked - 1;

  std::string result = fmt::format("{}:{}\n{}", printable(span.file), span.line, kRule);
  int first = std::max(1, span.line - kContext);
  int last = std::min(count, last_marked + kContext);
  for (int number = first; number <= last; number++) {
    std::string_view line = lines[number - 1];
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    bool is_marked = number >= span.line && number <= last_marked;
    std::string shown = masked_credentials(std::string(line)).substr(0, kLongestLine);
    std::string ellipsis = line.size() > kLongestLine ? "..." : "";
    result += fmt::format("{:4} | {} {}{}\n", number, is_marked ? ">>>" : "   ", printable(shown), ellipsis);
    bool has_caret = number == span.line && span.column > 0 &&
                     static_cast<size_t>(span.column) <= line.size() &&
                     static_cast<size_t>(span.column) <= kLongestLine;
    if (has_caret) result += "     |     " + caret_line(shown, span.column) + "\n";
  }
  result += kRule;
  return result;
}

}  // namespace corten::dockerfile
