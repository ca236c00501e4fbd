#include "report/colors.h"

#include <fmt/core.h>

#include "base/strings.h"

namespace corten::report {

static std::optional<std::string> parse_color(std::string_view text) {
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"black", "30"},       {"red", "31"},           {"green", "32"},       {"yellow", "33"},
      {"blue", "34"},        {"magenta", "35"},       {"cyan", "36"},        {"white", "37"},
      {"light-black", "90"}, {"light-red", "91"},     {"light-green", "92"}, {"light-yellow", "93"},
      {"light-blue", "94"},  {"light-magenta", "95"}, {"light-cyan", "96"},  {"light-white", "97"}};
  for (const auto& [name, code] : kNames)
    if (text == name) return std::string(code);
  std::vector<std::string> parts = split(text, ',');
  if (parts.size() != 3) return std::nullopt;
  for (const std::string& part : parts) {
    auto value = parse_int(part);
    if (!value || *value < 0 || *value > 255) return std::nullopt;
  }
  return fmt::format("38;2;{};{};{}", parts[0], parts[1], parts[2]);
}

Colors parse_colors(std::string_view text) {
  Colors colors;
  for (const std::string& field : split(text, ':')) {
    size_t equals = field.find('=');
    if (equals == std::string::npos) continue;
    auto color = parse_color(field.substr(equals + 1));
    if (!color) continue;
    std::string name = field.substr(0, equals);
    if (name == "run")
      colors.run = *color;
    else if (name == "cancel")
      colors.cancel = *color;
    else if (name == "error")
      colors.error = *color;
    else if (name == "warning")
      colors.warning = *color;
  }
  return colors;
}

}  // namespace corten::report
