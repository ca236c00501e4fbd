// Which files git tracks: their modes are what git knows, 644 or 755, whatever umask the checkout had.
#pragma once
#include <string>
#include <string_view>
#include <unordered_set>

namespace corten::source {

// The paths in a git index file (gitformat-index(5), versions 2 to 4), relative to the work tree.
// Error(kCorrupt) when it is malformed, Error(kUnsupported) for another version or a split index.
std::unordered_set<std::string> parse_git_index(std::string_view bytes);

// The tracked paths at and below `directory`, relative to it; empty when it is in no work tree, or the index
// cannot be read.
std::unordered_set<std::string> tracked_files(const std::string& directory);

}  // namespace corten::source
