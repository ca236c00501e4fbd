#include "cli/build_history.h"

#include <stdio.h>

#include <algorithm>

#include "base/clock.h"
#include "report/printable_json.h"
#include "report/progress.h"

namespace corten::cli {

std::vector<build::JournalStep> journal_of(const store::Store& store, const store::BuildRecord& record) {
  std::vector<build::JournalStep> steps = build::read_journal(store.build_directory(record.id) + "/steps");
  std::sort(steps.begin(), steps.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  return steps;
}

std::string duration_text(int64_t ns) {
  constexpr int64_t kMinute = 60'000'000'000;
  return ns < kMinute ? report::seconds_text(ns) : format_duration(ns / 1'000'000'000 * 1'000'000'000);
}

std::string shortened(std::string_view text, size_t most) {
  std::string_view line = text.substr(0, text.find('\n'));
  if (line.size() <= most && line.size() == text.size()) return std::string(line);
  line = line.substr(0, most - 3);
  while (!line.empty() && (static_cast<uint8_t>(line.back()) & 0xC0) == 0x80) line.remove_suffix(1);
  return std::string(line) + "...";
}

void print_json(const Json& json) {
  printf("%s\n", report::printable_json(json.dump()).c_str());
}

}  // namespace corten::cli
