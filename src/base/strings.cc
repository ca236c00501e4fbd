#include "base/strings.h"

#include <fmt/core.h>

#include <charconv>

namespace corten {

namespace {
bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}
char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
char upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

// Length of the UTF-8 sequence that starts here (RFC 3629); 0 when it is not one.
size_t utf8_length(std::string_view text) {
  auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  auto tail = [&](size_t i) { return i < text.size() && (byte(i) & 0xC0) == 0x80; };
  uint8_t b = byte(0);
  if (b < 0x80) return 1;
  if (b >= 0xC2 && b <= 0xDF) return tail(1) ? 2 : 0;
  if (b >= 0xE0 && b <= 0xEF) {
    if (!tail(1) || !tail(2)) return 0;
    if (b == 0xE0 && byte(1) < 0xA0) return 0;
    if (b == 0xED && byte(1) > 0x9F) return 0;
    return 3;
  }
  if (b >= 0xF0 && b <= 0xF4) {
    if (!tail(1) || !tail(2) || !tail(3)) return 0;
    if (b == 0xF0 && byte(1) < 0x90) return 0;
    if (b == 0xF4 && byte(1) > 0x8F) return 0;
    return 4;
  }
  return 0;
}
}  // namespace

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (true) {
    size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  for (size_t i = 0; i < text.size();) {
    if (is_blank(text[i])) {
      i++;
      continue;
    }
    size_t start = i;
    while (i < text.size() && !is_blank(text[i])) i++;
    words.emplace_back(text.substr(start, i - start));
  }
  return words;
}

std::string join(std::span<const std::string> parts, std::string_view separator) {
  std::string text;
  for (size_t i = 0; i < parts.size(); i++) {
    if (i) text += separator;
    text += parts[i];
  }
  return text;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

std::string to_lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = lower(c);
  return out;
}

std::string to_upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = upper(c);
  return out;
}

bool iequals(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  if (from.empty()) return text;
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

std::string to_hex(std::span<const uint8_t> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (uint8_t b : bytes) {
    out += kDigits[b >> 4];
    out += kDigits[b & 15];
  }
  return out;
}

static constexpr char kBase64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string base64_encode(std::string_view bytes) {
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    size_t left = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t j = 0; j < 3; j++) group = group << 8 | (j < left ? static_cast<uint8_t>(bytes[i + j]) : 0);
    for (size_t j = 0; j < 4; j++) out += j <= left ? kBase64[group >> (18 - 6 * j) & 63] : '=';
  }
  return out;
}

std::optional<std::string> base64_decode(std::string_view text) {
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  std::string out;
  uint32_t group = 0;
  int bits = 0;
  for (char c : text) {
    const char* at = c ? std::strchr(kBase64, c) : nullptr;
    if (!at) return std::nullopt;
    group = group << 6 | static_cast<uint32_t>(at - kBase64);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out += static_cast<char>(group >> bits & 0xFF);
    }
  }
  return out;
}

std::optional<int64_t> parse_int(std::string_view text) {
  int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

std::optional<uint64_t> parse_octal(std::string_view text) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 8);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

// U+202A..U+202E and U+2066..U+2069: what follows them is shown in another order than it is in.
static bool reorders(std::string_view character) {
  if (character.size() != 3 || !character.starts_with("\xe2")) return false;
  const auto last = static_cast<uint8_t>(character[2]);
  return (character[1] == '\x80' && last >= 0xaa && last <= 0xae) ||
         (character[1] == '\x81' && last >= 0xa6 && last <= 0xa9);
}

std::string quote(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    char c = text[0];
    size_t length = utf8_length(text);
    if (length == 0) {
      out += fmt::format("\\x{:02x}", static_cast<uint8_t>(c));
      length = 1;
    } else if (length == 2 && c == '\xC2' && static_cast<uint8_t>(text[1]) < 0xA0) {
      out += fmt::format("\\u{:04x}", static_cast<uint8_t>(text[1]));  // C1 controls steer some terminals
    } else if (reorders(text.substr(0, length))) {
      out += fmt::format("\\u{:04x}", 0x2000 | (text[1] & 0x3F) << 6 | (text[2] & 0x3F));
    } else if (length > 1) {
      out += text.substr(0, length);
    } else {
      switch (c) {
        case '"':
          out += "\\\"";
          break;
        case '\\':
          out += "\\\\";
          break;
        case '\a':
          out += "\\a";
          break;
        case '\b':
          out += "\\b";
          break;
        case '\f':
          out += "\\f";
          break;
        case '\n':
          out += "\\n";
          break;
        case '\r':
          out += "\\r";
          break;
        case '\t':
          out += "\\t";
          break;
        case '\v':
          out += "\\v";
          break;
        default:
          if (c < 0x20 || c == 0x7F)
            out += fmt::format("\\x{:02x}", static_cast<uint8_t>(c));
          else
            out += c;
      }
    }
    text.remove_prefix(length);
  }
  return out + "\"";
}

std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    size_t length = utf8_length(text);
    uint8_t c = static_cast<uint8_t>(text[0]);
    // C1 controls (U+0080..U+009F) start escape sequences on some terminals.
    bool c1 = length == 2 && c == 0xC2 && static_cast<uint8_t>(text[1]) < 0xA0;
    if (length == 0 || c1 || reorders(text.substr(0, length)) || c == 0x7F ||
        (c < 0x20 && c != '\n' && c != '\t')) {
      length = std::max<size_t>(length, 1);
      for (size_t i = 0; i < length; i++) out += fmt::format("\\x{:02x}", static_cast<uint8_t>(text[i]));
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  return out;
}

bool is_valid_utf8(std::string_view text) {
  while (!text.empty()) {
    size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string human_size(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < std::size(kUnits)) value /= 1000, unit++;
  return fmt::format("{:.4g}{}", value, kUnits[unit]);
}

static std::optional<uint64_t> parse_size_of(std::string_view text, double thousand) {
  text = trim(text);
  size_t digits = 0;
  while (digits < text.size() && ((text[digits] >= '0' && text[digits] <= '9') || text[digits] == '.'))
    digits++;
  if (digits == 0) return std::nullopt;
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + digits, value);
  if (error != std::errc() || end != text.data() + digits) return std::nullopt;
  std::string unit = to_lower(trim(text.substr(digits)));
  if (unit.ends_with("ib"))
    unit.resize(unit.size() - 2), thousand = 1024;
  else if (unit.ends_with("b"))
    unit.resize(unit.size() - 1);
  constexpr std::string_view kUnits = "kmgtp";
  double factor = 1;
  if (unit.size() == 1 && kUnits.find(unit[0]) != kUnits.npos)
    for (size_t i = 0; i <= kUnits.find(unit[0]); i++) factor *= thousand;
  else if (!unit.empty())
    return std::nullopt;
  if (value * factor >= 9.2e18) return std::nullopt;
  return static_cast<uint64_t>(value * factor);
}

std::optional<uint64_t> parse_size(std::string_view text) {
  return parse_size_of(text, 1024);
}
std::optional<uint64_t> parse_decimal_size(std::string_view text) {
  return parse_size_of(text, 1000);
}

}  // namespace corten
