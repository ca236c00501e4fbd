#include "http/date.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <vector>

#include "base/strings.h"

namespace corten::http {

namespace {

constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
constexpr int64_t kYear = 365 * 24 * 3600;

std::optional<int64_t> seconds_of(const std::string& day, const std::string& month, int64_t year,
                                  const std::string& time) {
  const auto name = std::find(kMonths.begin(), kMonths.end(), month);
  const std::vector<std::string> parts = split(time, ':');
  const auto d = parse_int(day);
  if (name == kMonths.end() || parts.size() != 3 || !d || year < 1601 || year > 9999) return std::nullopt;
  const auto hour = parse_int(parts[0]), minute = parse_int(parts[1]), second = parse_int(parts[2]);
  if (!hour || !minute || !second || *hour < 0 || *hour > 23 || *minute < 0 || *minute > 59 || *second < 0 ||
      *second > 60 || *d < 1 || *d > 31)
    return std::nullopt;
  const std::chrono::year_month_day date(
      std::chrono::year(static_cast<int>(year)),
      std::chrono::month(static_cast<unsigned>(name - kMonths.begin()) + 1),
      std::chrono::day(static_cast<unsigned>(*d)));
  if (!date.ok()) return std::nullopt;
  const int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  return days * 86400 + *hour * 3600 + *minute * 60 + *second;
}

}  // namespace

std::optional<int64_t> parse_date(std::string_view text, int64_t now_s) {
  const std::vector<std::string> words = split_words(text);
  // Sun, 06 Nov 1994 08:49:37 GMT
  if (words.size() == 6 && words[0].ends_with(',') && words[5] == "GMT" && words[3].size() == 4)
    if (auto year = parse_int(words[3])) return seconds_of(words[1], words[2], *year, words[4]);
  // Sunday, 06-Nov-94 08:49:37 GMT: a year more than 50 years ahead is one of the past.
  if (words.size() == 4 && words[0].ends_with(',') && words[3] == "GMT") {
    const std::vector<std::string> date = split(words[1], '-');
    if (date.size() != 3 || date[2].size() != 2) return std::nullopt;
    const auto two = parse_int(date[2]);
    if (!two || *two < 0) return std::nullopt;
    const auto recent = seconds_of(date[0], date[1], 2000 + *two, words[2]);
    return recent && *recent > now_s + 50 * kYear ? seconds_of(date[0], date[1], 1900 + *two, words[2])
                                                  : recent;
  }
  // Sun Nov  6 08:49:37 1994
  if (words.size() == 5 && words[4].size() == 4)
    if (auto year = parse_int(words[4])) return seconds_of(words[2], words[1], *year, words[3]);
  return std::nullopt;
}

}  // namespace corten::http
