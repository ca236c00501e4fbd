// "did you mean ...?": the nearest of some names.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace corten {

// Edits in bytes, a swap of neighbours counting as one (optimal string alignment).
int edit_distance(std::string_view a, std::string_view b);

// The candidate nearest to the word, if it is near enough to be a slip (distance at most 3 and below half of
// the word's length); ties go to the first. An exact match gives nothing.
std::optional<std::string> suggest(std::string_view word, std::span<const std::string> candidates);

// " (did you mean X?)", or nothing.
std::string did_you_mean(std::string_view word, std::span<const std::string> candidates);

}  // namespace corten
