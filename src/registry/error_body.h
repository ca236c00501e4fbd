// What a registry says when it refuses: {"errors":[{"code","message","detail"}]} (distribution-spec, "Error
// Codes"), or any bytes at all.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace corten::registry {

// More of an answer that refuses is not read.
inline constexpr size_t kMaxErrorBytes = 64 << 10;

struct RegistryError {
  std::string code;     // "MANIFEST_UNKNOWN"; "" when the body is not of that form
  std::string message;  // one line that may be shown on a terminal, at most 500 bytes
};

// At most ten; never throws. A body of another form (a proxy's page) is one error without code: its first
// line that is not markup.
std::vector<RegistryError> parse_error_body(std::string_view body);

// "MANIFEST_UNKNOWN: manifest unknown; DENIED: ...", or "" when the body says nothing.
std::string error_text(std::string_view body);

bool has_code(const std::vector<RegistryError>& errors, std::string_view code);

}  // namespace corten::registry
