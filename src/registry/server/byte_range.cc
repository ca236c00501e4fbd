#include "registry/server/byte_range.h"

#include <algorithm>
#include <limits>

#include "base/strings.h"

namespace corten::registry::serving {

namespace {

// Digits alone, at most what fits.
std::optional<uint64_t> number(std::string_view text) {
  if (text.empty() || text.size() > 18) return std::nullopt;
  uint64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  return value;
}

}  // namespace

RangeRequest parse_range(std::string_view text, uint64_t size) {
  using Kind = RangeRequest::Kind;
  constexpr std::string_view kUnit = "bytes=";
  if (!text.starts_with(kUnit)) return {};
  text.remove_prefix(kUnit.size());
  const size_t dash = text.find('-');
  if (dash == std::string_view::npos || text.find(',') != std::string_view::npos) return {};
  const std::string_view first = trim(text.substr(0, dash)), last = trim(text.substr(dash + 1));
  if (first.empty()) {
    const std::optional<uint64_t> count = number(last);
    if (!count) return {};
    if (*count == 0 || size == 0) return {Kind::kUnsatisfied, {}};
    return {Kind::kPart, {size - std::min(*count, size), size}};
  }
  const std::optional<uint64_t> begin = number(first);
  const std::optional<uint64_t> end = last.empty() ? std::numeric_limits<uint64_t>::max() - 1 : number(last);
  if (!begin || !end) return {};
  if (*begin >= size || *end < *begin) return {Kind::kUnsatisfied, {}};
  return {Kind::kPart, {*begin, std::min(*end + 1, size)}};
}

std::optional<ByteRange> parse_content_range(std::string_view text) {
  text = trim(text);
  constexpr std::string_view kUnit = "bytes ";
  if (text.starts_with(kUnit)) {
    text.remove_prefix(kUnit.size());
    text = text.substr(0, text.find('/'));
  }
  const size_t dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const std::optional<uint64_t> begin = number(text.substr(0, dash)), end = number(text.substr(dash + 1));
  if (!begin || !end || *end < *begin) return std::nullopt;
  return ByteRange{*begin, *end + 1};
}

}  // namespace corten::registry::serving
