#include "base/signals.h"

#include <string.h>

#include <cstdint>
#include <map>

#include "base/strings.h"

namespace corten {

namespace {

// Linux numbers of x86-64 and arm64, as images carry them.
std::optional<int> signal_by_name(std::string name) {
  static const std::map<std::string_view, int> kSignals = {
      {"HUP", 1},   {"INT", 2},   {"QUIT", 3},  {"ILL", 4},     {"TRAP", 5},    {"ABRT", 6},
      {"IOT", 6},   {"BUS", 7},   {"FPE", 8},   {"KILL", 9},    {"USR1", 10},   {"SEGV", 11},
      {"USR2", 12}, {"PIPE", 13}, {"ALRM", 14}, {"TERM", 15},   {"STKFLT", 16}, {"CHLD", 17},
      {"CLD", 17},  {"CONT", 18}, {"STOP", 19}, {"TSTP", 20},   {"TTIN", 21},   {"TTOU", 22},
      {"URG", 23},  {"XCPU", 24}, {"XFSZ", 25}, {"VTALRM", 26}, {"PROF", 27},   {"WINCH", 28},
      {"IO", 29},   {"POLL", 29}, {"PWR", 30},  {"SYS", 31},    {"RTMIN", 34},  {"RTMAX", 64}};
  name = to_upper(name);
  if (name.substr(0, 3) == "SIG") name = name.substr(3);
  if (auto found = kSignals.find(name); found != kSignals.end()) return found->second;
  if (name.size() < 7 || (name.substr(0, 6) != "RTMIN+" && name.substr(0, 6) != "RTMAX-"))
    return std::nullopt;
  auto distance = parse_int(std::string_view(name).substr(6));
  bool is_from_min = name[5] == '+';
  if (!distance || *distance < 1 || *distance > (is_from_min ? 15 : 14)) return std::nullopt;
  return static_cast<int>(is_from_min ? 34 + *distance : 64 - *distance);
}

}  // namespace

std::optional<int> parse_signal(std::string_view text) {
  if (auto number = parse_int(text)) {
    if (*number == 0 || *number > INT32_MAX || *number < INT32_MIN) return std::nullopt;
    return static_cast<int>(*number);
  }
  return signal_by_name(std::string(text));
}

std::string signal_name(int number) {
  const char* name = sigabbrev_np(number);
  return name ? std::string("SIG") + name : "signal " + std::to_string(number);
}

}  // namespace corten
