#include "report/printable_json.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/strings.h"

namespace corten::report {

std::string printable_json(std::string_view text) {
  constexpr size_t kLongestCharacter = 4;
  std::string out;
  while (!text.empty()) {
    if (static_cast<uint8_t>(text[0]) < 0x7F) {
      out += text[0];
      text.remove_prefix(1);
      continue;
    }
    size_t length = 1;
    while (length <= std::min(kLongestCharacter, text.size()) && !is_valid_utf8(text.substr(0, length)))
      length++;
    if (length > std::min(kLongestCharacter, text.size())) {
      out += "\xEF\xBF\xBD";
      length = 1;
    } else if (length == 1) {
      out += "\\u007f";
    } else if (length == 2 && text[0] == '\xC2' && static_cast<uint8_t>(text[1]) < 0xA0) {
      out += fmt::format("\\u{:04x}", static_cast<uint8_t>(text[1]));
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  return out;
}

}  // namespace corten::report
