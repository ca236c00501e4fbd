// What a request line names: path and query (RFC 3986), bounded, decoded. Pure.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace corten::registry::serving {

inline constexpr size_t kMaxTargetBytes = 8 << 10;
inline constexpr size_t kMaxQueryParts = 64;

struct Target {
  std::string path;  // decoded; begins with '/', holds no control characters
  std::vector<std::pair<std::string, std::string>> query;

  // The first of that name; nothing when it is not there.
  std::optional<std::string> query_value(std::string_view name) const;
  std::vector<std::string> query_values(std::string_view name) const;
};

// "/v2/a/tags/list?n=5"; the absolute form ("http://host/v2/") is taken too (RFC 9112 section 3.2.2). Nothing
// for what is malformed: escapes that are none, control characters (also escaped), too many parts.
std::optional<Target> parse_target(std::string_view text);

}  // namespace corten::registry::serving
