// Text helpers that the standard library of g++ 12 lacks. Pure; thread-safe.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace corten {

std::vector<std::string> split(std::string_view text,
                               char separator);               // "a,,b" gives three parts; "" gives one
std::vector<std::string> split_words(std::string_view text);  // at runs of blanks; no empty parts
std::string join(std::span<const std::string> parts, std::string_view separator);
std::string_view trim(std::string_view text);          // blanks, tabs, line ends, at both ends
std::string to_lower(std::string_view text);           // ASCII
std::string to_upper(std::string_view text);           // ASCII
bool iequals(std::string_view a, std::string_view b);  // ASCII, case ignored
std::string replace_all(std::string text, std::string_view from, std::string_view to);

std::string to_hex(std::span<const uint8_t> bytes);
std::string base64_encode(std::string_view bytes);
std::optional<std::string> base64_decode(std::string_view text);

// A whole decimal number; nothing else may stand beside it.
std::optional<int64_t> parse_int(std::string_view text);
std::optional<uint64_t> parse_octal(std::string_view text);

// In double quotes with Go's escapes (strconv.Quote), as Docker and BuildKit print operands. Control
// characters never reach a terminal raw.
std::string quote(std::string_view text);
// The text with control characters and escape sequences made visible, for terminals; keeps \n and \t.
std::string printable(std::string_view text);

bool is_valid_utf8(std::string_view text);

// Sizes as Docker prints them (decimal units, 4 significant digits: "7.05MB"), and as it reads them ("128m").
std::string human_size(uint64_t bytes);
std::optional<uint64_t> parse_size(std::string_view text);  // k is 1024
std::optional<uint64_t> parse_decimal_size(
    std::string_view text);  // what human_size prints: k is 1000, KiB 1024

}  // namespace corten
