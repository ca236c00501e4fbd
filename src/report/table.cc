#include "report/table.h"

#include <fmt/core.h>

#include "base/strings.h"

namespace corten::report {

static size_t width_of(std::string_view text) {
  size_t width = 0;
  for (char c : text) width += (static_cast<uint8_t>(c) & 0xC0) != 0x80;
  return width;
}

std::string Table::text() const {
  std::vector<std::vector<std::string>> rows = rows_;
  std::vector<size_t> widths;
  for (auto& row : rows)
    for (size_t i = 0; i < row.size(); i++) {
      row[i] = printable(row[i]);
      if (i >= widths.size()) widths.push_back(0);
      widths[i] = std::max(widths[i], width_of(row[i]));
    }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); i++) {
      line += row[i];
      if (i + 1 < row.size()) line += std::string(widths[i] - width_of(row[i]) + 3, ' ');
    }
    while (line.ends_with(' ')) line.pop_back();
    out += line + "\n";
  }
  return out;
}

std::string age_text(int64_t seconds) {
  auto some = [](int64_t n, const char* unit) {
    return fmt::format("{} {}{} ago", n, unit, n == 1 ? "" : "s");
  };
  if (seconds < 1) return "Less than a second ago";
  if (seconds < 60) return some(seconds, "second");
  if (seconds < 120) return "About a minute ago";
  if (seconds < 3600) return some(seconds / 60, "minute");
  if (seconds < 7200) return "About an hour ago";
  if (seconds < 48 * 3600) return some(seconds / 3600, "hour");
  int64_t days = seconds / 86400;
  if (days < 14) return some(days, "day");
  if (days < 60) return some(days / 7, "week");
  if (days < 730) return some(days / 30, "month");
  return some(days / 365, "year");
}

}  // namespace corten::report
