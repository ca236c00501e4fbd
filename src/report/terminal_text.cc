// A step's output is foreign: `curl evil | sh` may print anything, and a terminal obeys anything. So the
// bytes pass through a gate that knows what may go through (printable characters, and the SGR sequences of a
// list) and not what may not. A sequence is recognised only when it is whole, within the line and short; all
// else is text and is made visible, so no state is carried from one line to the next and no line can swallow
// the following ones.
#include "report/terminal_text.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <optional>

#include "base/strings.h"

namespace corten::report {

namespace {

struct Range {
  char32_t first, last;
};

// East Asian Width W and F, and emoji; neighbouring blocks are joined, unassigned and a few narrow characters
// included: too many columns cut a line early, too few would wrap it.
constexpr Range kWide[] = {
    {0x1100, 0x115F}, {0x231A, 0x231B},   {0x2329, 0x232A},   {0x23E9, 0x23F3},   {0x25FD, 0x25FE},
    {0x2600, 0x27BF}, {0x2B1B, 0x2B1C},   {0x2B50, 0x2B55},   {0x2E80, 0xA4CF},   {0xA960, 0xA97F},
    {0xAC00, 0xD7A3}, {0xF900, 0xFAFF},   {0xFE10, 0xFE19},   {0xFE30, 0xFE6F},   {0xFF00, 0xFF60},
    {0xFFE0, 0xFFE6}, {0x16FE0, 0x1B2FF}, {0x1F000, 0x1FAFF}, {0x20000, 0x3FFFD},
};

// Marks that every terminal draws onto the character before. U+FE0F (emoji form) is not here: it widens.
constexpr Range kMarks[] = {
    {0x0300, 0x036F}, {0x0483, 0x0489}, {0x0591, 0x05BD}, {0x0610, 0x061A}, {0x064B, 0x065F},
    {0x06D6, 0x06DC}, {0x0E34, 0x0E3A}, {0x0E47, 0x0E4E}, {0x1AB0, 0x1ACE}, {0x1DC0, 0x1DFF},
    {0x200B, 0x200D}, {0x20D0, 0x20F0}, {0xFE00, 0xFE0E}, {0xFE20, 0xFE2F}, {0xE0100, 0xE01EF},
};

// Characters without a shape that reorder or break lines: a name must not read other than it is.
constexpr Range kTurning[] = {{0x061C, 0x061C}, {0x200E, 0x200F}, {0x2028, 0x202E},  {0x2060, 0x206F},
                              {0xFEFF, 0xFEFF}, {0xFFF9, 0xFFFB}, {0xE0000, 0xE007F}};

template <size_t N>
bool is_in(const Range (&ranges)[N], char32_t c) {
  const Range* found =
      std::upper_bound(std::begin(ranges), std::end(ranges), c,
                       [](char32_t value, const Range& range) { return value < range.first; });
  return found != std::begin(ranges) && c <= std::prev(found)->last;
}

size_t width_of(char32_t c) {
  return is_in(kMarks, c) ? 0 : is_in(kWide, c) ? 2 : 1;
}

// One character of valid UTF-8; the text is not empty.
char32_t take_character(std::string_view& text) {
  uint8_t first = static_cast<uint8_t>(text[0]);
  size_t length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  length = std::min(length, text.size());
  constexpr uint8_t kBits[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
  char32_t c = first & kBits[length];
  for (size_t i = 1; i < length; i++) c = c << 6 | (static_cast<uint8_t>(text[i]) & 0x3F);
  text.remove_prefix(length);
  return c;
}

constexpr size_t kLongestSequence = 64;

// Length of the CSI sequence that the text begins with (ECMA-48 5.4: parameters, intermediates, a final
// byte); 0 when it is none.
size_t csi_length(std::string_view text) {
  if (!text.starts_with("\x1b[")) return 0;
  size_t at = 2;
  while (at < text.size() && text[at] >= 0x30 && text[at] <= 0x3F) at++;
  while (at < text.size() && text[at] >= 0x20 && text[at] <= 0x2F) at++;
  if (at >= text.size() || at >= kLongestSequence || text[at] < 0x40 || text[at] > 0x7E) return 0;
  return at + 1;
}

// An OSC sequence (a title, a hyperlink) that ends with BEL or ST.
size_t osc_length(std::string_view text) {
  if (!text.starts_with("\x1b]")) return 0;
  for (size_t at = 2; at < text.size() && at < 2048; at++) {
    if (text[at] == '\a') return at + 1;
    if (text[at] == '\x1b') return at + 1 < text.size() && text[at + 1] == '\\' ? at + 2 : 0;
    if (static_cast<uint8_t>(text[at]) < 0x20) return 0;
  }
  return 0;
}

// Whether a CSI sequence only colours: its parameters are all of a list.
bool is_color(std::string_view sequence) {
  if (!sequence.ends_with('m')) return false;
  std::string_view parameters = sequence.substr(2, sequence.size() - 3);
  if (parameters.empty()) return true;
  std::vector<std::string> parts = split(parameters, ';');
  for (size_t i = 0; i < parts.size(); i++) {
    if (parts[i].empty()) continue;
    auto value = parse_int(parts[i]);
    if (!value || *value < 0 || *value > 107 || *value == 5 || *value == 6 || *value == 8) return false;
    if ((*value >= 10 && *value < 22) || (*value > 49 && *value < 90)) return false;
    if (*value != 38 && *value != 48) continue;
    if (i + 1 >= parts.size()) return false;
    size_t more = parts[i + 1] == "5" ? 2 : parts[i + 1] == "2" ? 4 : 0;
    if (more == 0 || i + more >= parts.size()) return false;
    for (size_t n = i + 2; n <= i + more; n++) {
      auto part = parse_int(parts[n]);
      if (!part || *part < 0 || *part > 255) return false;
    }
    i += more;
  }
  return true;
}

// printable, and the turning characters made visible too.
std::string visible(std::string_view text) {
  std::string safe = printable(text), out;
  std::string_view rest = safe;
  while (!rest.empty()) {
    std::string_view before = rest;
    bool is_turning = is_in(kTurning, take_character(rest));
    std::string_view bytes = before.substr(0, before.size() - rest.size());
    if (!is_turning)
      out += bytes;
    else
      for (char byte : bytes) {
        constexpr char kDigits[] = "0123456789abcdef";
        out += {'\\', 'x', kDigits[static_cast<uint8_t>(byte) >> 4], kDigits[byte & 15]};
      }
  }
  return out;
}

}  // namespace

size_t columns_of(std::string_view text) {
  size_t columns = 0;
  while (!text.empty()) {
    if (size_t length = csi_length(text)) {
      text.remove_prefix(length);
      continue;
    }
    char32_t c = take_character(text);
    columns += c == '\t' ? 8 - columns % 8 : width_of(c);
  }
  return columns;
}

std::string cut_to(std::string_view text, size_t columns, std::string_view ending) {
  bool fits = columns_of(text) <= columns;
  size_t room = fits ? columns : columns - std::min(columns, ending.size());
  constexpr size_t kMostMarks = 8;  // on one character; more of them only slow a terminal down
  std::string out;
  size_t used = 0, marks = 0;
  bool is_colored = false;
  while (!text.empty()) {
    if (size_t length = csi_length(text)) {
      out += text.substr(0, length);
      is_colored = true;
      text.remove_prefix(length);
      continue;
    }
    std::string_view before = text;
    char32_t c = take_character(text);
    size_t width = c == '\t' ? 8 - used % 8 : width_of(c);
    if (used + width > room) break;
    used += width;
    marks = width == 0 ? marks + 1 : 0;
    if (c == '\t')
      out.append(width, ' ');
    else if (marks <= kMostMarks)
      out += before.substr(0, before.size() - text.size());
  }
  if (is_colored) out += "\x1b[0m";
  if (!fits && ending.size() <= columns) out += ending;
  return out;
}

std::string output_line(std::string_view line, bool with_colors) {
  std::string out;
  while (!line.empty()) {
    size_t escape = line.find('\x1b');
    out += visible(line.substr(0, escape));
    if (escape == std::string_view::npos) break;
    line.remove_prefix(escape);
    size_t length = csi_length(line);
    if (length && with_colors && is_color(line.substr(0, length))) out += line.substr(0, length);
    if (length == 0) length = osc_length(line);
    if (length == 0) {
      out += visible(line.substr(0, 1));
      length = 1;
    }
    line.remove_prefix(length);
  }
  std::replace(out.begin(), out.end(), '\n', ' ');
  return out;
}

std::string one_line(std::string_view text) {
  std::string out = visible(text);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c == '\n' || c == '\t'; }, ' ');
  return out;
}

}  // namespace corten::report
