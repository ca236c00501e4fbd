#include "archive/ar.h"

#include <array>
#include <cstring>

#include "base/error.h"
#include "base/strings.h"

namespace corten::archive {

namespace {
constexpr std::string_view kMagic = "!<arch>\n";

struct RawHeader {  // ar(5)
  char name[16], mtime[12], uid[6], gid[6], mode[8], size[10], end[2];
};
static_assert(sizeof(RawHeader) == 60);

template <size_t N>
uint64_t number(const char (&field)[N], bool octal, std::string_view what) {
  std::string_view text = trim(std::string_view(field, N));
  if (text.empty()) return 0;
  std::optional<uint64_t> value;
  if (octal) {
    value = parse_octal(text);
  } else if (auto decimal = parse_int(text); decimal && *decimal >= 0) {
    value = static_cast<uint64_t>(*decimal);
  }
  if (!value) fail(ErrorCode::kCorrupt, "ar archive: {} {} is no number", what, quote(text));
  return *value;
}
}  // namespace

std::optional<ArMember> ArReader::next() {
  if (!begun_) {
    char magic[8];
    if (read_fully(from_, magic, sizeof magic) != sizeof magic || std::string_view(magic, 8) != kMagic)
      fail(ErrorCode::kCorrupt, "ar archive: does not begin with !<arch>");
    begun_ = true;
  }
  drain(data_);
  char pad;
  // Some writers leave out the padding of the last member.
  if (odd_ && read_fully(from_, &pad, 1) == 0) return std::nullopt;
  odd_ = false;

  RawHeader raw;
  size_t count = read_fully(from_, &raw, sizeof raw);
  if (count == 0) return std::nullopt;
  if (count != sizeof raw || raw.end[0] != '`' || raw.end[1] != '\n')
    fail(ErrorCode::kCorrupt, "ar archive: malformed or truncated member header");

  ArMember member;
  std::string_view name(raw.name, sizeof raw.name);
  while (name.ends_with(' ')) name.remove_suffix(1);
  if (name.starts_with('/') || name.starts_with("#1/"))
    fail(ErrorCode::kUnsupported, "ar archive: member {}: long names are not part of the Debian format",
         quote(name));
  if (name.ends_with('/')) name.remove_suffix(1);
  if (name.empty()) fail(ErrorCode::kCorrupt, "ar archive: a member without a name");
  member.name = name;
  member.size = number(raw.size, false, "size");
  member.mtime = static_cast<int64_t>(number(raw.mtime, false, "time"));
  member.uid = static_cast<uint32_t>(number(raw.uid, false, "uid"));
  member.gid = static_cast<uint32_t>(number(raw.gid, false, "gid"));
  member.mode = static_cast<uint32_t>(number(raw.mode, true, "mode"));
  rest_ = member.size;
  odd_ = member.size % 2 != 0;
  return member;
}

size_t ArReader::read_data(void* data, size_t size) {
  size_t want = static_cast<size_t>(std::min<uint64_t>(size, rest_));
  if (want == 0) return 0;
  size_t count = from_.read(data, want);
  if (count == 0) fail(ErrorCode::kCorrupt, "ar archive: ends {} bytes before the end of a member", rest_);
  rest_ -= count;
  return count;
}

}  // namespace corten::archive
