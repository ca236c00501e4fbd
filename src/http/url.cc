#include "http/url.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/strings.h"

namespace corten::http {

std::string percent_decode(std::string_view text) {
  auto hex = [](char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
  };
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '%' && i + 2 < text.size() && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
      out += static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string percent_encode(std::string_view text, std::string_view also_kept) {
  constexpr const char* kDigits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool is_kept = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                         c == '-' || c == '.' || c == '_' || c == '~' ||
                         also_kept.find(c) != std::string_view::npos;
    if (is_kept) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return out;
}

std::string without_credentials(std::string text) {
  for (size_t at = text.find("://"); at != std::string::npos; at = text.find("://", at + 3)) {
    size_t host = at + 3, end = std::min(text.find_first_of("/?# \t\n\"'", host), text.size());
    size_t sign = text.substr(0, end).rfind('@');
    if (sign != std::string::npos && sign >= host) text.erase(host, sign + 1 - host);
  }
  return text;
}

namespace {

std::string shown(std::string_view address) {
  return quote(without_credentials(std::string(address)));
}

void parse_authority(std::string_view authority, std::string_view whole, Url& url) {
  if (size_t at = authority.rfind('@'); at != std::string_view::npos) {
    url.user_info = percent_decode(authority.substr(0, at));
    authority.remove_prefix(at + 1);
  }
  std::string_view port;
  if (authority.starts_with('[')) {
    size_t end = authority.find(']');
    if (end == std::string_view::npos)
      fail(ErrorCode::kInvalid, "address {}: the bracket is not closed", shown(whole));
    url.host = to_lower(authority.substr(1, end - 1));
    authority.remove_prefix(end + 1);
    if (!authority.empty() && !authority.starts_with(':'))
      fail(ErrorCode::kInvalid, "address {}: malformed host", shown(whole));
    port = authority.empty() ? authority : authority.substr(1);
  } else {
    size_t colon = authority.find(':');
    url.host = to_lower(authority.substr(0, colon));
    if (colon != std::string_view::npos) port = authority.substr(colon + 1);
  }
  if (url.host.empty()) fail(ErrorCode::kInvalid, "address {}: it has no host", shown(whole));
  url.port = url.scheme == "https" ? 443 : 80;
  if (port.empty()) return;
  auto number = parse_int(port);
  if (!number || *number < 1 || *number > 65535)
    fail(ErrorCode::kInvalid, "address {}: {} is no port", shown(whole), quote(port));
  url.port = static_cast<uint16_t>(*number);
}

}  // namespace

std::string Url::authority() const {
  std::string text = host.find(':') == std::string::npos ? host : "[" + host + "]";
  if (port != (scheme == "https" ? 443 : 80)) text += ":" + std::to_string(port);
  return text;
}

std::string Url::shown() const {
  return is_file() ? scheme + ":" + target : scheme + "://" + authority() + target;
}

Url parse_url(std::string_view text) {
  for (char c : text)
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f)
      fail(ErrorCode::kInvalid, "address {}: it holds a blank or a control character", shown(text));
  size_t colon = text.find(':');
  if (colon == std::string_view::npos)
    fail(ErrorCode::kInvalid, "address {}: it has no scheme (http://, https://, file://)", shown(text));
  Url url;
  url.scheme = to_lower(text.substr(0, colon));
  std::string_view rest = text.substr(colon + 1);
  if (url.is_file()) {
    if (rest.starts_with("//")) {
      rest.remove_prefix(2);
      if (rest.starts_with("localhost/")) rest.remove_prefix(9);
    }
    if (!rest.starts_with('/'))
      fail(ErrorCode::kInvalid, "address {}: its path is not absolute", shown(text));
    url.target = percent_decode(rest);
    return url;
  }
  if (url.scheme != "http" && url.scheme != "https")
    fail(ErrorCode::kInvalid, "address {}: scheme {} is not supported (http, https, file)", shown(text),
         quote(url.scheme));
  if (!rest.starts_with("//"))
    fail(ErrorCode::kInvalid, "address {}: // is missing after the scheme", shown(text));
  rest.remove_prefix(2);
  size_t end = rest.find_first_of("/?#");
  parse_authority(rest.substr(0, end), text, url);
  url.target = end == std::string_view::npos ? "/" : std::string(rest.substr(end));
  if (size_t fragment = url.target.find('#'); fragment != std::string::npos) url.target.resize(fragment);
  if (!url.target.starts_with('/')) url.target = "/" + url.target;
  return url;
}

Url resolve_url(const Url& from, std::string_view location) {
  if (location.starts_with("//")) return parse_url(from.scheme + ":" + std::string(location));
  size_t colon = location.find(':');
  if (colon != std::string_view::npos && location.find('/') > colon) return parse_url(location);
  Url url = from;
  std::string_view path = std::string_view(from.target).substr(0, from.target.find('?'));
  std::string target = location.starts_with('/') ? std::string(location)
                       : location.starts_with('?')
                           ? std::string(path) + std::string(location)
                           : std::string(path.substr(0, path.rfind('/') + 1)) + std::string(location);
  return parse_url(url.scheme + "://" + from.authority() + target);
}

namespace {

// Bytes of an address; 0 when it is none.
size_t address_bytes(std::string_view text, uint8_t* bytes) {
  const std::string copy(text);
  if (inet_pton(AF_INET, copy.c_str(), bytes) == 1) return 4;
  if (inet_pton(AF_INET6, copy.c_str(), bytes) == 1) return 16;
  return 0;
}

}  // namespace

bool is_in_network(std::string_view address, std::string_view network) {
  const size_t slash = network.find('/');
  if (slash == std::string_view::npos) return false;
  uint8_t a[16], n[16];
  const size_t size = address_bytes(address, a);
  if (size == 0 || address_bytes(network.substr(0, slash), n) != size) return false;
  const auto bits = parse_int(network.substr(slash + 1));
  if (!bits || *bits < 0 || *bits > static_cast<int64_t>(size * 8)) return false;
  const size_t whole = static_cast<size_t>(*bits) / 8, rest = static_cast<size_t>(*bits) % 8;
  if (memcmp(a, n, whole) != 0) return false;
  return rest == 0 || (a[whole] ^ n[whole]) >> (8 - rest) == 0;
}

}  // namespace corten::http
