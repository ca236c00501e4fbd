#include "archive/tar_fields.h"

#include <cstring>

#include <fmt/format.h>

#include "archive/tar.h"
#include "base/error.h"
#include "base/strings.h"

namespace corten::archive {

bool TarBlock::is_zero() const {
  std::string_view all = bytes();
  return all.find_first_not_of('\0') == std::string_view::npos;
}

namespace {
struct Sums {
  int64_t as_unsigned, as_signed;
};

Sums sums(const TarBlock& block) {
  constexpr size_t kFrom = offsetof(TarBlock, checksum), kTo = kFrom + sizeof(TarBlock::checksum);
  Sums result{0, 0};
  std::string_view all = block.bytes();
  for (size_t i = 0; i < all.size(); i++) {
    char c = i >= kFrom && i < kTo ? ' ' : all[i];
    result.as_unsigned += static_cast<unsigned char>(c);
    result.as_signed += static_cast<signed char>(c);
  }
  return result;
}

bool is_blank(char c) {
  return c == ' ' || c == '\0';
}

std::optional<int64_t> try_parse_number(std::string_view field) {
  if (!field.empty() && (static_cast<unsigned char>(field[0]) & 0x80)) {
    // Base-256: the first bit is the mark, the next one the sign.
    bool negative = static_cast<unsigned char>(field[0]) & 0x40;
    unsigned char fill = negative ? 0xff : 0;
    uint64_t value = negative ? UINT64_MAX : 0;
    for (size_t i = 0; i < field.size(); i++) {
      unsigned char c = static_cast<unsigned char>(field[i]);
      if (i == 0) c = negative ? c | 0x80 : c & 0x3f;
      // What is shifted out must be nothing but the sign.
      if ((value >> 56) != fill) return std::nullopt;
      value = value << 8 | c;
    }
    if ((value >> 63) != (negative ? 1u : 0u)) return std::nullopt;
    return static_cast<int64_t>(value);
  }
  while (!field.empty() && is_blank(field.front())) field.remove_prefix(1);
  field = field.substr(0, field.find('\0'));
  while (!field.empty() && is_blank(field.back())) field.remove_suffix(1);
  if (field.empty()) return 0;
  uint64_t value = 0;
  for (char c : field) {
    if (c < '0' || c > '7' || value >> 60) return std::nullopt;
    value = value << 3 | static_cast<uint64_t>(c - '0');
  }
  if (value >> 63) return std::nullopt;
  return static_cast<int64_t>(value);
}
}  // namespace

bool TarBlock::has_right_checksum() const {
  std::optional<int64_t> told = try_parse_number(tar_field(checksum));
  if (!told) return false;
  Sums found = sums(*this);
  return *told == found.as_unsigned || *told == found.as_signed;
}

void TarBlock::set_checksum() {
  std::string text = fmt::format("{:06o}", sums(*this).as_unsigned);
  memcpy(checksum, text.data(), 6);
  checksum[6] = '\0';
  checksum[7] = ' ';
}

bool TarBlock::is_ustar() const {
  return memcmp(magic, "ustar\0", 6) == 0;
}

int64_t parse_tar_number(std::string_view field, std::string_view what) {
  if (auto value = try_parse_number(field)) return *value;
  fail(ErrorCode::kCorrupt, "tar archive: {} {} is no number", what, quote(tar_text(field)));
}

std::string_view tar_text(std::string_view field) {
  return field.substr(0, field.find('\0'));
}

bool looks_like_tar(std::string_view first) {
  if (first.size() < kTarBlockBytes) return false;
  TarBlock block;
  memcpy(&block, first.data(), sizeof block);
  return !block.is_zero() && block.has_right_checksum();
}

std::map<std::string, std::string> parse_pax_records(std::string_view bytes) {
  std::map<std::string, std::string> records;
  std::string sparse_map;
  bool half_pair = false;
  while (!bytes.empty()) {
    size_t space = bytes.find(' ');
    std::optional<int64_t> length;
    if (space != std::string_view::npos && space > 0 && space < 12)
      length = parse_int(bytes.substr(0, space));
    if (!length || *length <= static_cast<int64_t>(space) + 2 ||
        *length > static_cast<int64_t>(bytes.size()) || bytes[static_cast<size_t>(*length) - 1] != '\n')
      fail(ErrorCode::kCorrupt, "tar archive: malformed extended header record");
    size_t end = static_cast<size_t>(*length);
    std::string_view record = bytes.substr(space + 1, end - space - 2);
    bytes.remove_prefix(end);
    size_t equals = record.find('=');
    if (equals == std::string_view::npos || equals == 0)
      fail(ErrorCode::kCorrupt, "tar archive: extended header record without a key");
    std::string key(record.substr(0, equals));
    std::string_view value = record.substr(equals + 1);
    if (key.find('\0') != std::string::npos)
      fail(ErrorCode::kCorrupt, "tar archive: NUL in an extended header key");
    if (key == "GNU.sparse.offset" || key == "GNU.sparse.numbytes") {
      if (half_pair != (key == "GNU.sparse.numbytes") || value.find(',') != std::string_view::npos)
        fail(ErrorCode::kCorrupt, "tar archive: malformed sparse map");
      half_pair = !half_pair;
      if (!sparse_map.empty()) sparse_map += ',';
      sparse_map += value;
    } else {
      records[key] = value;
    }
  }
  if (half_pair) fail(ErrorCode::kCorrupt, "tar archive: malformed sparse map");
  if (!sparse_map.empty()) records["GNU.sparse.map"] = sparse_map;
  return records;
}

std::string format_pax_record(std::string_view key, std::string_view value) {
  // The length counts its own digits.
  size_t rest = key.size() + value.size() + 3;
  size_t length = rest + 1;
  while (std::to_string(length).size() + rest != length) length = std::to_string(length).size() + rest;
  return fmt::format("{} {}={}\n", length, key, value);
}

std::optional<PaxTime> parse_pax_time(std::string_view text) {
  bool negative = text.starts_with('-');
  size_t point = text.find('.');
  std::string_view whole =
      text.substr(negative ? 1 : 0, point == std::string_view::npos ? point : point - (negative ? 1 : 0));
  std::string_view fraction = point == std::string_view::npos ? std::string_view() : text.substr(point + 1);
  // Eighteen digits of seconds fit any integer and outlast the sun.
  if (whole.empty() || whole.size() > 18) return std::nullopt;
  int64_t seconds = 0;
  for (char c : whole) {
    if (c < '0' || c > '9') return std::nullopt;
    seconds = seconds * 10 + (c - '0');
  }
  uint32_t ns = 0;
  for (size_t i = 0; i < fraction.size(); i++) {
    if (fraction[i] < '0' || fraction[i] > '9') return std::nullopt;
    if (i < 9) ns = ns * 10 + static_cast<uint32_t>(fraction[i] - '0');
  }
  for (size_t i = fraction.size(); i < 9; i++) ns *= 10;
  if (!negative) return PaxTime{seconds, ns};
  if (ns == 0) return PaxTime{-seconds, 0};
  return PaxTime{-seconds - 1, 1'000'000'000 - ns};
}

std::string format_pax_time(int64_t seconds, uint32_t ns) {
  if (ns == 0) return std::to_string(seconds);
  std::string sign;
  if (seconds < 0) {
    sign = "-";
    seconds = -(seconds + 1);
    ns = 1'000'000'000 - ns;
  }
  std::string text = fmt::format("{}{}.{:09}", sign, seconds, ns);
  while (text.back() == '0') text.pop_back();
  return text;
}

}  // namespace corten::archive
