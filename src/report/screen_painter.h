// Draws a block of rows at the bottom of a terminal again and again, writing only what changed.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

namespace corten::report {

struct TerminalSize {
  size_t columns = 80, rows = 24;
  bool operator==(const TerminalSize&) const = default;
};

// Asks the terminal; 80x24 when it does not say.
TerminalSize terminal_size(int fd);

struct Row {
  std::string left;   // without control bytes but colours
  std::string right;  // ASCII: a clock; stands at the right edge
  std::string style;  // SGR parameters, "" for none
  bool operator==(const Row&) const = default;
};

class ScreenPainter {
 public:
  // reflows: whether the terminal wraps old lines anew when it becomes narrower (terminal_reflows()).
  explicit ScreenPainter(bool reflows) : reflows_(reflows) {}

  // The bytes that turn what was drawn last into `rows`; "" when nothing changed. To be written at once.
  std::string frame(const std::vector<Row>& rows, TerminalSize size);

 private:
  std::string whole_row(const Row& row, size_t columns) const;
  std::string changed_part(const Row& before, const Row& now, size_t columns) const;
  size_t rows_on_screen(size_t columns) const;

  bool reflows_;
  std::vector<Row> drawn_;
  TerminalSize size_;
};

// From TERM and what terminals say of themselves: only the console, xterm and screen leave lines as they
// were.
bool terminal_reflows();

}  // namespace corten::report
