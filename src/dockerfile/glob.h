// The patterns of ${v#p}, ${v%p} and ${v/p/r}: `*` any run, `?` one character, backslash takes * ?
// \ literally. There are no bracket classes. Neither wildcard matches a line end. (BuildKit's shell lexer;
// POSIX shell 2.13 without brackets.)
#pragma once
#include <string>
#include <string_view>

namespace corten::dockerfile {

enum class GlobReach { kShortest, kLongest };

// These throw Error(kInvalid): "invalid pattern (p) in substitution: invalid escape '\c'", or when pattern
// and value together are so large that matching would be felt.
std::string trim_matching_prefix(std::string_view pattern, std::string_view value, GlobReach reach);
std::string trim_matching_suffix(std::string_view pattern, std::string_view value, GlobReach reach);
// Takes the leftmost, then longest match; with `all`, goes on behind it. The replacement is literal.
std::string replace_matching(std::string_view pattern, std::string_view value, std::string_view replacement,
                             bool all);

}  // namespace corten::dockerfile
