// What a 401 asks for: WWW-Authenticate (RFC 9110, section 11.6.1), one or several fields with one or several
// challenges each.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace corten::registry {

struct Challenge {
  std::string scheme;                                           // lower case: "bearer", "basic"
  std::vector<std::pair<std::string, std::string>> parameters;  // names in lower case
  // "" when it is not there.
  std::string parameter(std::string_view name) const;
};

// Never throws: what is malformed, or beyond 16 challenges of 16 parameters in 16 KiB, is left out. Values
// have no control characters.
std::vector<Challenge> parse_challenges(std::string_view field);

}  // namespace corten::registry
