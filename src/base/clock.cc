#include "base/clock.h"

#include <fmt/core.h>
#include <time.h>

#include <cmath>

#include "base/strings.h"

namespace corten {

static int64_t read_clock(clockid_t id) {
  timespec ts;
  clock_gettime(id, &ts);
  return ts.tv_sec * 1'000'000'000 + ts.tv_nsec;
}

int64_t SystemClock::now_ns() const {
  return read_clock(CLOCK_REALTIME);
}
int64_t monotonic_ns() {
  return read_clock(CLOCK_MONOTONIC);
}

int64_t clamped_ns(int64_t seconds, int64_t fraction_ns) {
  constexpr int64_t kSecond = 1'000'000'000, kMost = INT64_MAX / kSecond - 1;
  if (seconds > kMost) return kMost * kSecond;
  if (seconds < -kMost) return -kMost * kSecond;
  return seconds * kSecond + fraction_ns;
}

std::string format_rfc3339(int64_t seconds, int64_t nanoseconds) {
  time_t t = seconds;
  tm parts;
  gmtime_r(&t, &parts);
  std::string text = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", parts.tm_year + 1900,
                                 parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
  if (nanoseconds) {
    std::string fraction = fmt::format(".{:09}", nanoseconds);
    while (fraction.ends_with('0')) fraction.pop_back();
    text += fraction;
  }
  return text + "Z";
}

std::optional<int64_t> parse_rfc3339(std::string_view text) {
  if (text.size() < 20) return std::nullopt;
  auto number = [&](size_t at, size_t length) { return parse_int(text.substr(at, length)).value_or(-1); };
  if (text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't' && text[10] != ' ') ||
      text[13] != ':' || text[16] != ':')
    return std::nullopt;
  tm parts{};
  int64_t year = number(0, 4), month = number(5, 2), day = number(8, 2);
  int64_t hour = number(11, 2), minute = number(14, 2), second = number(17, 2);
  if (year < 0 || month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 || hour > 23 || minute < 0 ||
      minute > 59 || second < 0 || second > 60)
    return std::nullopt;
  parts.tm_year = static_cast<int>(year - 1900);
  parts.tm_mon = static_cast<int>(month - 1);
  parts.tm_mday = static_cast<int>(day);
  parts.tm_hour = static_cast<int>(hour);
  parts.tm_min = static_cast<int>(minute);
  parts.tm_sec = static_cast<int>(second);
  size_t at = 19;
  if (text[at] == '.') {
    at++;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') at++;
  }
  int64_t offset = 0;
  std::string_view zone = text.substr(at);
  if (zone != "Z" && zone != "z") {
    if (zone.size() != 6 || (zone[0] != '+' && zone[0] != '-') || zone[3] != ':') return std::nullopt;
    auto hours = parse_int(zone.substr(1, 2)), minutes = parse_int(zone.substr(4, 2));
    if (!hours || !minutes) return std::nullopt;
    offset = (*hours * 60 + *minutes) * 60 * (zone[0] == '-' ? -1 : 1);
  }
  return timegm(&parts) - offset;
}

std::optional<int64_t> parse_duration(std::string_view text) {
  bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text == "0") return 0;
  if (text.empty()) return std::nullopt;
  struct Unit {
    std::string_view name;
    double ns;
  };
  constexpr Unit kUnits[] = {{"ns", 1},   {"us", 1e3}, {"\xC2\xB5s", 1e3}, {"\xCE\xBCs", 1e3},
                             {"ms", 1e6}, {"s", 1e9},  {"m", 60e9},        {"h", 3600e9}};
  double total = 0;
  while (!text.empty()) {
    size_t digits = 0;
    double value = 0, scale = 1;
    bool dot = false, any = false;
    for (; digits < text.size(); digits++) {
      char c = text[digits];
      if (c == '.' && !dot) {
        dot = true;
        continue;
      }
      if (c < '0' || c > '9') break;
      any = true;
      if (dot)
        value += (c - '0') * (scale /= 10);
      else
        value = value * 10 + (c - '0');
    }
    if (!any) return std::nullopt;
    text.remove_prefix(digits);
    size_t letters = 0;
    while (letters < text.size() && text[letters] != '.' && (text[letters] < '0' || text[letters] > '9'))
      letters++;
    const Unit* unit = nullptr;
    for (const Unit& u : kUnits)
      if (u.name == text.substr(0, letters)) unit = &u;
    if (!unit) return std::nullopt;
    total += value * unit->ns;
    text.remove_prefix(letters);
  }
  if (total > 9.2e18) return std::nullopt;
  int64_t ns = std::llround(total);
  return negative ? -ns : ns;
}

std::string human_duration(int64_t seconds) {
  constexpr int64_t kMinute = 60, kHour = 60 * kMinute, kDay = 24 * kHour;
  if (seconds < 1) return "Less than a second";
  if (seconds == 1) return "1 second";
  if (seconds < kMinute) return fmt::format("{} seconds", seconds);
  if (seconds < 2 * kMinute) return "About a minute";
  if (seconds < kHour) return fmt::format("{} minutes", seconds / kMinute);
  int64_t hours = (seconds + kHour / 2) / kHour;
  if (hours == 1) return "About an hour";
  if (hours < 48) return fmt::format("{} hours", hours);
  if (seconds < 14 * kDay) return fmt::format("{} days", seconds / kDay);
  if (seconds < 60 * kDay) return fmt::format("{} weeks", seconds / (7 * kDay));
  if (seconds < 2 * 365 * kDay) return fmt::format("{} months", seconds / (30 * kDay));
  return fmt::format("{} years", seconds / (365 * kDay));
}

std::string format_duration(int64_t ns) {
  if (ns == 0) return "0s";
  if (ns < 0) return "-" + format_duration(-ns);
  auto fraction = [](int64_t value, int64_t unit) {
    std::string text = fmt::format("{}", value / unit);
    int64_t rest = value % unit;
    if (!rest) return text;
    std::string digits;
    for (int64_t u = unit / 10; u > 0; u /= 10) digits += static_cast<char>('0' + rest / u % 10);
    while (digits.ends_with('0')) digits.pop_back();
    return text + "." + digits;
  };
  if (ns < 1'000) return fmt::format("{}ns", ns);
  if (ns < 1'000'000) return fraction(ns, 1'000) + "\xC2\xB5s";
  if (ns < 1'000'000'000) return fraction(ns, 1'000'000) + "ms";
  int64_t hours = ns / 3'600'000'000'000, minutes = ns / 60'000'000'000 % 60;
  std::string text;
  if (hours) text += fmt::format("{}h", hours);
  if (hours || minutes) text += fmt::format("{}m", minutes);
  return text + fraction(ns % 60'000'000'000, 1'000'000'000) + "s";
}

}  // namespace corten
