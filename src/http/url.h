// The few kinds of address that bytes are fetched from (RFC 3986): http, https, and files of this machine as
// apt writes them (file:///..., copy:/...).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace corten::http {

struct Url {
  std::string scheme;     // lower case: http, https, file, copy
  std::string user_info;  // "user:password", decoded; never shown
  std::string host;       // lower case, without the brackets of an IPv6 address
  uint16_t port = 0;      // the scheme's when none was written
  std::string target;     // path and query, at least "/"; of a file its decoded path

  bool is_file() const { return scheme == "file" || scheme == "copy"; }
  // "host", "[::1]", "host:8080": what a Host line says.
  std::string authority() const;
  // Without user and password.
  std::string shown() const;
};

// Error(kInvalid) for other schemes, control characters, blanks and malformed authorities.
Url parse_url(std::string_view text);
// "%41" to "A"; what is no escape stays.
std::string percent_decode(std::string_view text);
// All but RFC 3986's unreserved characters as %41; in a path '/' may stay.
std::string percent_encode(std::string_view text, std::string_view also_kept = {});
// A text as it may be shown: addresses in it without user and password.
std::string without_credentials(std::string text);
// The address that a Location line means, seen from `from`.
Url resolve_url(const Url& from, std::string_view location);

// `network` is "10.1.0.0/16" or "fd00::/8", `address` a number without brackets. False when either is no
// such.
bool is_in_network(std::string_view address, std::string_view network);

}  // namespace corten::http
