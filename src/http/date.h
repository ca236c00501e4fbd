// Dates of HTTP (RFC 9110, section 5.6.7), as Last-Modified and Retry-After have them.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace corten::http {

// Seconds since 1970 of "Sun, 06 Nov 1994 08:49:37 GMT" and of the two obsolete forms; nothing for anything
// else. Years of two digits are the nearest that are not more than 50 years ahead of `now_s`.
std::optional<int64_t> parse_date(std::string_view text, int64_t now_s);

}  // namespace corten::http
