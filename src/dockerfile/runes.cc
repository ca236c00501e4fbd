#include "dockerfile/runes.h"

namespace corten::dockerfile {

namespace {
constexpr uint32_t kBrokenByte =
    0x110000;  // one past Unicode: byte b that is no UTF-8 becomes kBrokenByte + b
}

Rune rune_at(std::string_view text, size_t at) {
  auto byte = [&](size_t i) -> uint32_t {
    return at + i < text.size() ? static_cast<uint8_t>(text[at + i]) : 0;
  };
  uint32_t first = byte(0);
  if (first < 0x80) return {first, 1};
  auto is_tail = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  if (first >= 0xC2 && first <= 0xDF && is_tail(1)) return {(first & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if ((first & 0xF0) == 0xE0 && is_tail(1) && is_tail(2)) {
    uint32_t code = (first & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    if (code >= 0x800 && (code < 0xD800 || code > 0xDFFF)) return {code, 3};
  }
  if (first >= 0xF0 && first <= 0xF4 && is_tail(1) && is_tail(2) && is_tail(3)) {
    uint32_t code = (first & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
    if (code >= 0x10000 && code < kBrokenByte) return {code, 4};
  }
  return {kBrokenByte + first, 1};
}

bool is_space(uint32_t code) {
  if (code < 0x80) return code == ' ' || (code >= '\t' && code <= '\r');
  return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) ||
         code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

bool is_name_rune(uint32_t code) {
  if (code < 0x80)
    return (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z') || (code >= '0' && code <= '9') ||
           code == '_';
  if (code < 0xC0) return code == 0xAA || code == 0xB5 || code == 0xBA;
  struct Block {
    uint32_t first, last;
  };
  // Multiplication and division signs; combining marks; punctuation to arrows, mathematics and dingbats; CJK
  // punctuation; private use; presentation and full-width punctuation; emoji; what is no character at all.
  static constexpr Block kNoLetters[] = {
      {0xD7, 0xD7},     {0xF7, 0xF7},     {0x300, 0x36F},     {0x2000, 0x2BFF},     {0x2E00, 0x2E7F},
      {0x3000, 0x3004}, {0x3007, 0x3030}, {0xE000, 0xF8FF},   {0xFE00, 0xFE6F},     {0xFF00, 0xFF0F},
      {0xFF1A, 0xFF20}, {0xFFF0, 0xFFFF}, {0x1F000, 0x1FAFF}, {0xE0000, 0xFFFFFFFF}};
  for (const Block& block : kNoLetters)
    if (code >= block.first && code <= block.last) return false;
  return true;
}

std::string_view trim_left_space(std::string_view text) {
  while (!text.empty()) {
    Rune rune = rune_at(text, 0);
    if (!is_space(rune.code)) break;
    text.remove_prefix(rune.length);
  }
  return text;
}

std::string_view trim_space(std::string_view text) {
  text = trim_left_space(text);
  size_t end = 0;
  for (size_t at = 0; at < text.size();) {
    Rune rune = rune_at(text, at);
    at += rune.length;
    if (!is_space(rune.code)) end = at;
  }
  return text.substr(0, end);
}

}  // namespace corten::dockerfile
