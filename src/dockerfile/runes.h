// Characters of a text that is mostly UTF-8: the Dockerfile language asks of a character only whether it is a
// blank and whether it may stand in a variable's name. Pure; thread-safe.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace corten::dockerfile {

// One character. A byte that is not UTF-8 is a character of its own, of length 1, equal to nothing but
// itself.
struct Rune {
  uint32_t code = 0;
  int length = 0;  // bytes
};

// The character that begins at `at`, which must lie inside the text.
Rune rune_at(std::string_view text, size_t at);

// Unicode White_Space, as Go's unicode.IsSpace.
bool is_space(uint32_t code);

// Letter, digit or underscore. Beyond ASCII whole blocks are taken as letters or as none, so that no table of
// a Unicode version has to be kept: punctuation, symbols, blanks and emoji end a name, scripts do not.
bool is_name_rune(uint32_t code);

// Both ends without white space.
std::string_view trim_space(std::string_view text);
std::string_view trim_left_space(std::string_view text);

}  // namespace corten::dockerfile
