// No flicker means: what did not change is not written, and what did is written in one piece.
//
// The cursor rests on the line below the block. A frame goes up to the first row that changed, writes it,
// goes down over rows that stay as they are, and so on to the line below the last row; of a row whose clock
// alone moved, the clock alone is written. The frame is one write, within "synchronized output" (mode 2026: a
// terminal that knows it shows the frame when it is whole, others ignore it), with the cursor hidden and
// automatic wrapping off, so that a character that the terminal thinks wider than we do is cut at the edge
// and does not shift all rows by one. These modes are given back at the end of each frame: a killed program
// leaves the terminal as it was.
//
// When the size changes, terminals that wrap old lines anew have made more rows of ours; we count them, go up
// as many, and draw all. Rows that scrolled out at the top are out of reach: then the block begins at the top
// of the screen.
#include "report/screen_painter.h"

#include <stdlib.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <string_view>

#include <fmt/core.h>

#include "report/terminal_text.h"

namespace corten::report {

TerminalSize terminal_size(int fd) {
  winsize size{};
  if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {};
  return {size.ws_col, size.ws_row};
}

bool terminal_reflows() {
  auto value = [](const char* name) {
    const char* text = getenv(name);
    return std::string_view(text ? text : "");
  };
  if (!value("TMUX").empty()) return true;
  return value("TERM") != "linux" && value("XTERM_VERSION").empty() && value("STY").empty();
}

static std::string styled(const Row& row, const std::string& text) {
  return row.style.empty() ? text : fmt::format("\x1b[{}m{}\x1b[0m", row.style, text);
}

// The last column stays free: the cursor behind it means different things to different terminals.
static std::string cut_left(const Row& row, size_t columns) {
  size_t right = row.right.empty() ? 0 : row.right.size() + 1;
  return cut_to(row.left, columns > right + 1 ? columns - right - 1 : 0);
}

static std::string right_part(const Row& row, size_t columns) {
  if (row.right.empty() || row.right.size() + 1 > columns) return {};
  return fmt::format("\x1b[{}G{}", columns - row.right.size(), styled(row, row.right));
}

std::string ScreenPainter::whole_row(const Row& row, size_t columns) const {
  return "\r" + styled(row, cut_left(row, columns)) + "\x1b[K" + right_part(row, columns);
}

std::string ScreenPainter::changed_part(const Row& before, const Row& now, size_t columns) const {
  bool is_right_only = before.style == now.style && before.right.size() <= now.right.size() &&
                       cut_left(before, columns) == cut_left(now, columns);
  return is_right_only ? right_part(now, columns) : whole_row(now, columns);
}

size_t ScreenPainter::rows_on_screen(size_t columns) const {
  if (!reflows_ || columns >= size_.columns) return drawn_.size();
  size_t rows = 0;
  for (const Row& row : drawn_) {
    size_t used =
        right_part(row, size_.columns).empty() ? columns_of(cut_left(row, size_.columns)) : size_.columns - 1;
    rows += std::max<size_t>(1, (used + columns - 1) / columns);
  }
  return rows;
}

std::string ScreenPainter::frame(const std::vector<Row>& rows, TerminalSize size) {
  if (rows == drawn_ && size == size_) return {};
  std::string text = "\x1b[?2026h\x1b[?25l\x1b[?7l";
  // What scrolled out of a small screen cannot be drawn over.
  bool is_whole = drawn_.empty() || size != size_ || drawn_.size() >= size.rows;
  size_t up = std::min(rows_on_screen(size.columns), size.rows - 1);
  if (up) text += fmt::format("\x1b[{}A", up);
  text += "\r";
  if (is_whole) {
    text += "\x1b[J";
    for (const Row& row : rows) text += whole_row(row, size.columns) + "\r\n";
  } else {
    size_t cursor = 0;
    auto go_to = [&](size_t row) {
      if (row > cursor) text += fmt::format("\x1b[{}B", row - cursor);
      cursor = row;
    };
    for (size_t i = 0; i < rows.size(); i++) {
      if (i < drawn_.size() && rows[i] == drawn_[i]) continue;
      go_to(i);
      if (i < drawn_.size()) {
        text += changed_part(drawn_[i], rows[i], size.columns);
      } else {
        text += whole_row(rows[i], size.columns) + "\r\n";
        cursor++;
      }
    }
    go_to(rows.size());
    text += "\r\x1b[J";
  }
  drawn_ = rows;
  size_ = size;
  return text + "\x1b[?7h\x1b[?25h\x1b[?2026l";
}

}  // namespace corten::report
