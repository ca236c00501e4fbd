// Canonical tar. The same members in the same order give the same bytes, whoever writes them and whenever:
// that is what makes a layer's diff id reproducible. Nothing is chosen by the writer's mood; the rules are
// these.
//
// - A member is one ustar header (magic "ustar\0", version "00"), its content, zeros up to a multiple of 512
// bytes.
// - User and group names are empty. The mode is the twelve permission bits. Device numbers are written for
// devices and
//   are zero otherwise. Numbers are octal, zero-filled, ended by a NUL; the checksum is six digits, NUL,
//   blank.
// - A directory's path ends in '/'. Names are bytes: nothing is converted, also not to ASCII.
// - A path of at most 100 bytes stands in `name`. A longer one is split at its last '/' for which `prefix` is
// at most
//   155 bytes, if `name` is then 1..100 bytes.
// - What does not fit goes into one PAX header ('x') before the member, with only the records that are
// needed, sorted by
//   key: gid, linkpath, mtime, path, size, uid, SCHILY.xattr.<name>. They are needed when: the path cannot be
//   split; the link is longer than 100 bytes; uid or gid is above 2097151; the size is above 8 GiB - 1; the
//   time has nanoseconds, is before 1970 or above 8589934591. The ustar field then holds the first 100 bytes
//   of the name; the whole seconds of the time if they fit; else zero. Attributes always need a record; their
//   values are raw bytes.
// - The PAX header itself: name "PaxHeaders.0/" and the path's last component, cut at 100 bytes; mode 0644,
// owner 0,
//   time 0.
// - The archive ends with two zero blocks and nothing else.
//
// GNU extensions are never written. Go's archive/tar, Python's tarfile, GNU tar, bsdtar and busybox read all
// of this.
#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "archive/tar.h"
#include "archive/tar_fields.h"
#include "base/error.h"
#include "base/strings.h"

namespace corten::archive {

namespace {
constexpr uint64_t kMaxOctal7 = 07777777;
constexpr uint64_t kMaxOctal11 = 077777777777;

template <size_t N>
void put_text(char (&field)[N], std::string_view text) {
  memcpy(field, text.data(), std::min(N, text.size()));
}

template <size_t N>
void put_number(char (&field)[N], uint64_t value) {
  std::string digits = fmt::format("{:0{}o}", value, N - 1);
  memcpy(field, digits.data(), N - 1);
}

TarBlock empty_block() {
  TarBlock block;
  memset(&block, 0, sizeof block);
  memcpy(block.magic, "ustar", 6);
  memcpy(block.version, "00", 2);
  put_number(block.device_major, 0);
  put_number(block.device_minor, 0);
  return block;
}

char flag_of(TarType type) {
  switch (type) {
    case TarType::kFile:
      return '0';
    case TarType::kHardlink:
      return '1';
    case TarType::kSymlink:
      return '2';
    case TarType::kCharDevice:
      return '3';
    case TarType::kBlockDevice:
      return '4';
    case TarType::kDirectory:
      return '5';
    case TarType::kFifo:
      return '6';
  }
  fail(ErrorCode::kInternal, "tar type {}", static_cast<int>(type));
}

// Puts the path into name and prefix; false when it does not fit.
bool put_path(TarBlock& block, std::string_view path) {
  if (path.size() <= sizeof block.name) {
    put_text(block.name, path);
    return true;
  }
  // A '/' at the very end would leave no name.
  size_t slash = path.substr(0, path.size() - 1).rfind('/', sizeof block.prefix);
  if (slash != std::string_view::npos && slash > 0 && path.size() - slash - 1 <= sizeof block.name) {
    put_text(block.prefix, path.substr(0, slash));
    put_text(block.name, path.substr(slash + 1));
    return true;
  }
  put_text(block.name, path);
  return false;
}

void check(const TarHeader& header) {
  auto refuse = [&](std::string_view why) {
    fail(ErrorCode::kInvalid, "tar member {}: {}", quote(header.path), why);
  };
  if (header.path.empty()) refuse("has no path");
  if (header.path.find('\0') != std::string::npos || header.link.find('\0') != std::string::npos)
    refuse("NUL in a name");
  bool is_link = header.type == TarType::kSymlink || header.type == TarType::kHardlink;
  if (is_link && header.link.empty()) refuse("a link without a target");
  if (header.path.size() >= kMaxNameBytes || header.link.size() >= kMaxNameBytes)
    refuse("a name longer than 64 KiB");
  if (header.size > kMaxMemberBytes) refuse("too big");
  if (header.mtime_ns >= 1'000'000'000) refuse("its time has more than a second of nanoseconds");
  if (header.device_major > kMaxOctal7 || header.device_minor > kMaxOctal7)
    refuse("its device number does not fit");
  size_t total = 0;
  for (const auto& [name, value] : header.xattrs) {
    if (name.empty() || name.find('=') != std::string::npos || name.find('\0') != std::string::npos)
      refuse("an extended attribute that tar cannot name");
    total += name.size() + value.size();
  }
  if (total > kMaxPaxBytes / 2) refuse("extended attributes of more than 512 KiB");
}

std::string pax_block_name(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  return "PaxHeaders.0/" + std::string(path.substr(path.rfind('/') + 1));
}
}  // namespace

void TarWriter::begin(const TarHeader& header) {
  if (finished_) fail(ErrorCode::kInternal, "tar writer: a member after the end");
  end_member();
  check(header);

  TarBlock block = empty_block();
  std::map<std::string, std::string> records;
  std::string path = header.path;
  if (header.type == TarType::kDirectory && !path.ends_with('/')) path += '/';
  if (!put_path(block, path)) records["path"] = path;

  if (header.type == TarType::kSymlink || header.type == TarType::kHardlink) {
    put_text(block.link, header.link);
    if (header.link.size() > sizeof block.link) records["linkpath"] = header.link;
  }

  put_number(block.mode, header.mode & 07777);
  auto put_or_record = [&](auto& field, uint64_t value, uint64_t limit, const char* key) {
    put_number(field, value <= limit ? value : 0);
    if (value > limit) records[key] = std::to_string(value);
  };
  uint64_t size = header.type == TarType::kFile ? header.size : 0;
  put_or_record(block.uid, header.uid, kMaxOctal7, "uid");
  put_or_record(block.gid, header.gid, kMaxOctal7, "gid");
  put_or_record(block.size, size, kMaxOctal11, "size");

  bool time_fits = header.mtime >= 0 && static_cast<uint64_t>(header.mtime) <= kMaxOctal11;
  put_number(block.mtime, time_fits ? static_cast<uint64_t>(header.mtime) : 0);
  if (!time_fits || header.mtime_ns != 0) records["mtime"] = format_pax_time(header.mtime, header.mtime_ns);

  block.type = flag_of(header.type);
  if (header.type == TarType::kCharDevice || header.type == TarType::kBlockDevice) {
    put_number(block.device_major, header.device_major);
    put_number(block.device_minor, header.device_minor);
  }
  for (const auto& [name, value] : header.xattrs) records["SCHILY.xattr." + name] = value;

  if (hints_) hints_->member_begins();
  if (!records.empty()) {
    std::string body;
    for (const auto& [key, value] : records) body += format_pax_record(key, value);
    TarBlock pax = empty_block();
    put_text(pax.name, pax_block_name(path));
    put_number(pax.mode, 0644);
    put_number(pax.uid, 0);
    put_number(pax.gid, 0);
    put_number(pax.size, body.size());
    put_number(pax.mtime, 0);
    pax.type = 'x';
    pax.set_checksum();
    emit(pax.bytes());
    emit(body);
    pad();
  }
  block.set_checksum();
  emit(block.bytes());

  path_ = header.path;
  rest_ = size;
  if (rest_ > 0 && hints_) hints_->data_begins(rest_);
}

void TarWriter::write(std::string_view content) {
  if (content.size() > rest_)
    fail(ErrorCode::kInvalid, "tar member {}: longer than its header tells", quote(path_));
  rest_ -= content.size();
  emit(content);
}

void TarWriter::add(const TarHeader& header, std::string_view content) {
  begin(header);
  write(content);
  end_member();
}

void TarWriter::add(const TarHeader& header, ByteSource& content) {
  begin(header);
  char buffer[64 << 10];
  while (size_t count = content.read(buffer, sizeof buffer)) {
    if (count > rest_)
      fail(ErrorCode::kCorrupt, "tar member {}: its content is longer than {} bytes", quote(path_),
           header.size);
    write({buffer, count});
  }
  if (rest_ > 0)
    fail(ErrorCode::kCorrupt, "tar member {}: its content is {} bytes short", quote(path_), rest_);
  end_member();
}

void TarWriter::pass(const TarHeader& header) {
  begin(header);
  offset_ += rest_;
  rest_ = 0;
  end_member();
}

void TarWriter::finish() {
  if (finished_) return;
  end_member();
  static constexpr char kZeros[2 * kTarBlockBytes] = {};
  emit({kZeros, sizeof kZeros});
  finished_ = true;
}

void TarWriter::end_member() {
  if (rest_ > 0)
    fail(ErrorCode::kInvalid, "tar member {}: {} bytes of content are missing", quote(path_), rest_);
  pad();
}

void TarWriter::pad() {
  static constexpr char kZeros[kTarBlockBytes] = {};
  size_t part = offset_ % kTarBlockBytes;
  if (part) emit({kZeros, kTarBlockBytes - part});
}

void TarWriter::emit(std::string_view bytes) {
  to_.write(bytes);
  offset_ += bytes.size();
}

}  // namespace corten::archive
