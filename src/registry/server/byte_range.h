// The ranges that requests name. Pure.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace corten::registry::serving {

// A half-open part of `size` bytes.
struct ByteRange {
  uint64_t begin = 0, end = 0;
  uint64_t size() const { return end - begin; }
  bool operator==(const ByteRange&) const = default;
};

struct RangeRequest {
  enum class Kind {
    kWhole,       // no range, several, another unit: all bytes are sent
    kPart,        // 206
    kUnsatisfied  // 416
  };
  Kind kind = Kind::kWhole;
  ByteRange part;
};

// A Range line (RFC 9110 section 14.2), for content of that size. One range is honoured: "bytes=a-b", "a-",
// "-n". One that ends before it begins is refused with 416, as the official suite wants (RFC 9110 lets it be
// ignored).
RangeRequest parse_range(std::string_view text, uint64_t size);

// A chunk's Content-Range: "a-b", both inclusive (distribution-spec, "Pushing a blob in chunks"); also
// RFC 9110's "bytes a-b/n". Nothing when malformed.
std::optional<ByteRange> parse_content_range(std::string_view text);

}  // namespace corten::registry::serving
