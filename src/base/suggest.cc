#include "base/suggest.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include <fmt/core.h>

#include "base/strings.h"

namespace corten {

int edit_distance(std::string_view a, std::string_view b) {
  std::vector<int> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), 0);
  for (size_t i = 1; i <= a.size(); i++) {
    row[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); j++) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

std::optional<std::string> suggest(std::string_view word, std::span<const std::string> candidates) {
  constexpr int kFarthest = 3;
  std::optional<std::string> best;
  int best_distance = std::min<int>(kFarthest, std::max<int>(1, static_cast<int>(word.size()) / 2)) + 1;
  for (const std::string& candidate : candidates) {
    if (candidate == word) return std::nullopt;
    int distance = edit_distance(to_lower(word), to_lower(candidate));
    if (distance < best_distance) best = candidate, best_distance = distance;
  }
  return best;
}

std::string did_you_mean(std::string_view word, std::span<const std::string> candidates) {
  auto near = suggest(word, candidates);
  return near ? fmt::format(" (did you mean {}?)", *near) : std::string();
}

}  // namespace corten
