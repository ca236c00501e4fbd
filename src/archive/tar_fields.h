// The fixed 512-byte header of a tar member and its fields, shared by the reader and the writer.
// Sources: POSIX.1-1988 ustar (IEEE Std 1003.1, pax, "ustar Interchange Format"), GNU tar manual, "Basic Tar
// Format".
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace corten::archive {

inline constexpr size_t kTarBlockBytes = 512;

struct TarBlock {
  char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type;
  char link[100], magic[6], version[2], user[32], group[32], device_major[8], device_minor[8], prefix[155],
      rest[12];

  std::string_view bytes() const { return {reinterpret_cast<const char*>(this), sizeof *this}; }
  bool is_zero() const;
  // The sum over unsigned bytes (right) or, as some old writers did it, over signed ones.
  bool has_right_checksum() const;
  void set_checksum();
  bool is_ustar()
      const;  // POSIX: prefix counts. GNU's magic is another, and uses that field for other things
};
static_assert(sizeof(TarBlock) == kTarBlockBytes);

// A number field: octal between blanks and NULs, or GNU's base-256 (first bit set, two's complement). Throws
// Error(kCorrupt) with `what`.
int64_t parse_tar_number(std::string_view field, std::string_view what);
// Up to the first NUL.
std::string_view tar_text(std::string_view field);
template <size_t N>
std::string_view tar_field(const char (&field)[N]) {
  return {field, N};
}

// PAX extended header records ("25 path=some/thing\n" ...): key to value. The pairs of GNU.sparse 0.0, the
// only key that comes more than once, are joined to the GNU.sparse.map of 0.1. Throws Error(kCorrupt).
std::map<std::string, std::string> parse_pax_records(std::string_view bytes);
std::string format_pax_record(std::string_view key, std::string_view value);

// "-1.5" is the time {-2, 500000000}. Digits beyond the ninth are cut off.
struct PaxTime {
  int64_t seconds;
  uint32_t ns;
};
std::optional<PaxTime> parse_pax_time(std::string_view text);
std::string format_pax_time(int64_t seconds, uint32_t ns);

}  // namespace corten::archive
