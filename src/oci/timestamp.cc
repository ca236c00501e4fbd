// RFC 3339 times, as image configs have them.
#include <chrono>

#include "base/strings.h"
#include "oci/config.h"

namespace corten::oci {

std::string format_time(int64_t seconds, uint32_t ns) {
  using namespace std::chrono;
  sys_seconds time{std::chrono::seconds(seconds)};
  sys_days day = floor<days>(time);
  year_month_day date(day);
  hh_mm_ss clock(time - day);
  std::string text = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(date.year()),
                                 static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                                 clock.hours().count(), clock.minutes().count(), clock.seconds().count());
  if (ns != 0) {
    text += fmt::format(".{:09}", ns);
    while (text.back() == '0') text.pop_back();
  }
  return text + "Z";
}

std::optional<Timestamp> parse_time(std::string_view text) {
  using namespace std::chrono;
  auto number = [&](size_t from, size_t count, int low, int high) -> std::optional<int> {
    if (from + count > text.size()) return std::nullopt;
    int value = 0;
    for (size_t i = from; i < from + count; i++) {
      if (text[i] < '0' || text[i] > '9') return std::nullopt;
      value = value * 10 + (text[i] - '0');
    }
    if (value < low || value > high) return std::nullopt;
    return value;
  };
  auto is = [&](size_t at, std::string_view any) {
    return at < text.size() && any.find(text[at]) != std::string_view::npos;
  };

  auto y = number(0, 4, 0, 9999), mo = number(5, 2, 1, 12), d = number(8, 2, 1, 31);
  auto h = number(11, 2, 0, 23), mi = number(14, 2, 0, 59), s = number(17, 2, 0, 60);
  if (!y || !mo || !d || !h || !mi || !s) return std::nullopt;
  if (!is(4, "-") || !is(7, "-") || !is(10, "Tt ") || !is(13, ":") || !is(16, ":")) return std::nullopt;
  year_month_day date{year(*y), month(static_cast<unsigned>(*mo)), day(static_cast<unsigned>(*d))};
  if (!date.ok()) return std::nullopt;

  Timestamp result;
  size_t at = 19;
  if (is(at, ".")) {
    size_t digits = 0;
    for (at++; is(at, "0123456789"); at++, digits++)
      if (digits < 9) result.ns = result.ns * 10 + static_cast<uint32_t>(text[at] - '0');
    if (digits == 0) return std::nullopt;
    for (; digits < 9; digits++) result.ns *= 10;
  }
  int64_t offset = 0;
  if (is(at, "Zz")) {
    at++;
  } else if (is(at, "+-")) {
    auto oh = number(at + 1, 2, 0, 23), om = number(at + 4, 2, 0, 59);
    if (!oh || !om || !is(at + 3, ":")) return std::nullopt;
    offset = (*oh * 3600 + *om * 60) * (text[at] == '-' ? -1 : 1);
    at += 6;
  } else {
    return std::nullopt;
  }
  if (at != text.size()) return std::nullopt;
  result.seconds =
      sys_days(date).time_since_epoch().count() * int64_t{86400} + *h * 3600 + *mi * 60 + *s - offset;
  return result;
}

}  // namespace corten::oci
