#include "base/suggest.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include <fmt/core.h>

#include "base/strings.h"

namespace corten {

int edit_distance(std::string_view a, std::string_view b) {
  std::vector<int> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); i++) {
    int diagonal = row[0];
    row[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); j++) {
      int above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
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
