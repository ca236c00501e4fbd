// Reading tar, as it is found: four generations of writers agree on the 512-byte header and on little else.
// Numbers are octal, or base-256 where they did not fit; names come from the header, from its prefix field,
// from a GNU 'L' or 'K' member before it, or from PAX records; the last of these that speaks wins, and the
// size that the records tell is also the length of the content in the stream. The stream is hostile. Every
// size is checked against a limit before it is believed, what is kept in memory (names, records, sparse maps)
// is read piece by piece, and what is long (content) is never kept.
#include <algorithm>
#include <cstring>

#include "archive/tar.h"
#include "archive/tar_fields.h"
#include "base/error.h"
#include "base/strings.h"

namespace corten::archive {

namespace {
constexpr size_t kMaxSparseExtents = 256 << 10;

[[noreturn]] void corrupt(std::string_view what) {
  fail(ErrorCode::kCorrupt, "tar archive: {}", what);
}

uint64_t padding_after(uint64_t size) {
  return (kTarBlockBytes - size % kTarBlockBytes) % kTarBlockBytes;
}

std::string checked_name(std::string_view name) {
  if (name.size() > kMaxNameBytes) corrupt("a name longer than 64 KiB");
  if (name.find('\0') != std::string_view::npos) corrupt("a NUL in a name");
  return std::string(name);
}

uint64_t checked_size(int64_t size) {
  if (size < 0 || static_cast<uint64_t>(size) > kMaxMemberBytes)
    fail(ErrorCode::kCorrupt, "tar archive: member size {}", size);
  return static_cast<uint64_t>(size);
}

uint32_t checked_id(int64_t id, std::string_view what) {
  // 2^32 - 1 is the kernel's "no id".
  if (id < 0 || id >= UINT32_MAX) fail(ErrorCode::kCorrupt, "tar archive: {} {}", what, id);
  return static_cast<uint32_t>(id);
}

int64_t record_number(const std::string& text, std::string_view key) {
  if (auto value = parse_int(text)) return *value;
  fail(ErrorCode::kCorrupt, "tar archive: {} {} is no number", key, quote(text));
}

// The value that counts: the member's own, else that of the global headers. An empty one means "as the header
// says".
const std::string* find_record(const std::map<std::string, std::string>& local,
                               const std::map<std::string, std::string>& global, const std::string& key) {
  auto found = local.find(key);
  if (found == local.end()) {
    found = global.find(key);
    if (found == global.end()) return nullptr;
  }
  return found->second.empty() ? nullptr : &found->second;
}

TarType type_of(char flag, bool named_as_directory) {
  switch (flag) {
    case '\0':
      return named_as_directory ? TarType::kDirectory : TarType::kFile;  // v7 knew no directories
    case '0':
    case '7':
      return TarType::kFile;  // "contiguous" is to be read as a file, says POSIX
    case '1':
      return TarType::kHardlink;
    case '2':
      return TarType::kSymlink;
    case '3':
      return TarType::kCharDevice;
    case '4':
      return TarType::kBlockDevice;
    case '5':
      return TarType::kDirectory;
    case '6':
      return TarType::kFifo;
  }
  fail(ErrorCode::kUnsupported, "unhandled tar header type {}", static_cast<unsigned char>(flag));
}

std::string percent_decoded(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); i++) {
    auto digit = [&](size_t at) {
      char c = at < text.size() ? text[at] : ' ';
      return c >= '0' && c <= '9'   ? c - '0'
             : c >= 'A' && c <= 'F' ? c - 'A' + 10
             : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                    : -1;
    };
    if (text[i] == '%' && digit(i + 1) >= 0 && digit(i + 2) >= 0) {
      result += static_cast<char>(digit(i + 1) << 4 | digit(i + 2));
      i += 2;
    } else {
      result += text[i];
    }
  }
  return result;
}

void add_xattrs(const std::map<std::string, std::string>& records, TarHeader& header) {
  constexpr std::string_view kSchily = "SCHILY.xattr.", kLibarchive = "LIBARCHIVE.xattr.";
  // libarchive writes both; Schily's is plain, so it has the last word.
  for (const auto& [key, value] : records) {
    if (!key.starts_with(kLibarchive)) continue;
    std::optional<std::string> decoded = base64_decode(value);
    // Its base64 comes without padding.
    for (int i = 0; !decoded && i < 2; i++) decoded = base64_decode(value + (i == 0 ? "=" : "=="));
    if (!decoded) corrupt("an extended attribute that is not base64");
    header.xattrs[percent_decoded(std::string_view(key).substr(kLibarchive.size()))] = *decoded;
  }
  for (const auto& [key, value] : records)
    if (key.starts_with(kSchily)) header.xattrs[key.substr(kSchily.size())] = value;
  for (const auto& [name, value] : header.xattrs)
    if (name.empty() || name.find('\0') != std::string::npos)
      corrupt("an extended attribute without a proper name");
}

std::vector<uint64_t> parse_sparse_numbers(std::string_view text) {
  std::vector<uint64_t> numbers;
  while (!text.empty()) {
    size_t comma = std::min(text.find(','), text.size());
    auto value = parse_int(text.substr(0, comma));
    if (!value || *value < 0) corrupt("malformed sparse map");
    numbers.push_back(static_cast<uint64_t>(*value));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return numbers;
}
}  // namespace

std::optional<TarHeader> TarReader::next() {
  if (ended_) return std::nullopt;
  skip_rest();
  Records local;
  std::string long_name, long_link;
  bool described = false;  // a header about the next member has been read
  for (;;) {
    TarBlock block;
    size_t count = read_fully(from_, &block, sizeof block);
    offset_ += count;
    if (count != 0 && count != sizeof block) corrupt("truncated in a header");
    if (count == 0 || block.is_zero()) {
      if (described) corrupt("ends after a header that describes a member");
      ended_ = true;
      if (count == 0) return std::nullopt;
      count = read_fully(from_, &block, sizeof block);
      offset_ += count;
      if (count != 0 && (count != sizeof block || !block.is_zero())) corrupt("a lone zero block");
      return std::nullopt;
    }
    if (!block.has_right_checksum()) corrupt("header checksum is wrong");

    uint64_t size = 0;
    if (block.type == 'x' || block.type == 'g' || block.type == 'L' || block.type == 'K')
      size = checked_size(parse_tar_number(tar_field(block.size), "size"));
    switch (block.type) {
      case 'x':
        local = parse_pax_records(read_meta(size, kMaxPaxBytes));
        break;
      case 'g': {
        for (auto& [key, value] : parse_pax_records(read_meta(size, kMaxPaxBytes)))
          global_[key] = std::move(value);
        size_t total = 0;
        for (const auto& [key, value] : global_) total += key.size() + value.size();
        if (total > kMaxGlobalPaxBytes || global_.size() > kMaxGlobalPaxRecords)
          corrupt("global extended headers of more than 64 KiB or 256 records");
        continue;  // speaks of all members, the next one need not come
      }
      case 'L':
        long_name = tar_text(read_meta(size, kMaxNameBytes + 1));
        break;
      case 'K':
        long_link = tar_text(read_meta(size, kMaxNameBytes + 1));
        break;
      default:
        return begin_member(block, local, long_name, long_link);
    }
    described = true;
  }
}

// The content of a header that describes: bounded before it is read, and read in steps, so that memory is
// only taken for bytes that are there.
std::string TarReader::read_meta(uint64_t size, size_t limit) {
  if (size > limit) fail(ErrorCode::kCorrupt, "tar archive: an extended header of {} bytes", size);
  std::string bytes;
  stored_ = size;
  while (stored_ > 0) {
    size_t step = static_cast<size_t>(std::min<uint64_t>(stored_, 64 << 10)), done = bytes.size();
    bytes.resize(done + step);
    read_stored(bytes.data() + done, step);
  }
  padding_ = padding_after(size);
  skip_rest();
  return bytes;
}

TarHeader TarReader::begin_member(const TarBlock& block, const Records& local, const std::string& long_name,
                                  const std::string& long_link) {
  auto record = [&](const char* key) { return find_record(local, global_, key); };
  TarHeader header;

  std::string prefix;
  if (block.is_ustar()) {
    // star's variant (POSIX magic, "tar" at the end) has times in the last 24 bytes of the prefix.
    bool star = memcmp(block.rest + 8, "tar\0", 4) == 0;
    prefix = tar_text(tar_field(block.prefix).substr(0, star ? 131 : 155));
  }
  header.path = tar_text(tar_field(block.name));
  if (!prefix.empty()) header.path = prefix + "/" + header.path;
  if (!long_name.empty()) header.path = checked_name(long_name);
  if (const std::string* path = record("path")) header.path = checked_name(*path);
  if (const std::string* path = record("GNU.sparse.name")) header.path = checked_name(*path);
  if (header.path.empty()) corrupt("a member without a name");

  header.type = type_of(block.type, header.path.ends_with('/'));
  if (header.type == TarType::kDirectory)
    while (header.path.size() > 1 && header.path.ends_with('/')) header.path.pop_back();

  if (header.type == TarType::kSymlink || header.type == TarType::kHardlink) {
    header.link = tar_text(tar_field(block.link));
    if (!long_link.empty()) header.link = checked_name(long_link);
    if (const std::string* link = record("linkpath")) header.link = checked_name(*link);
    if (header.link.empty())
      fail(ErrorCode::kCorrupt, "tar archive: link {} without a target", quote(header.path));
  }

  header.mode = static_cast<uint32_t>(parse_tar_number(tar_field(block.mode), "mode")) & 07777;
  const std::string* uid = record("uid");
  const std::string* gid = record("gid");
  header.uid =
      checked_id(uid ? record_number(*uid, "uid") : parse_tar_number(tar_field(block.uid), "uid"), "uid");
  header.gid =
      checked_id(gid ? record_number(*gid, "gid") : parse_tar_number(tar_field(block.gid), "gid"), "gid");

  if (const std::string* mtime = record("mtime")) {
    auto time = parse_pax_time(*mtime);
    if (!time) fail(ErrorCode::kCorrupt, "tar archive: mtime {} is no time", quote(*mtime));
    header.mtime = time->seconds;
    header.mtime_ns = time->ns;
  } else {
    header.mtime = parse_tar_number(tar_field(block.mtime), "mtime");
  }

  if (header.type == TarType::kCharDevice || header.type == TarType::kBlockDevice) {
    header.device_major = checked_id(parse_tar_number(tar_field(block.device_major), "device"), "device");
    header.device_minor = checked_id(parse_tar_number(tar_field(block.device_minor), "device"), "device");
  }
  add_xattrs(global_, header);
  add_xattrs(local, header);

  if (header.type == TarType::kFile) {
    const std::string* told = record("size");
    uint64_t stored =
        checked_size(told ? record_number(*told, "size") : parse_tar_number(tar_field(block.size), "size"));
    header.size = stored;
    stored_ = stored;
    padding_ = padding_after(stored);
    if (block.type != '7') begin_sparse(local, stored, header);
  }
  return header;
}

// The three sparse forms of GNU tar's PAX archives (GNU tar manual, appendix "Storing Sparse Files"): a list
// of (offset, length) pairs in the records (0.0, 0.1) or in front of the content (1.0); the stored bytes are
// the pieces in a row.
void TarReader::begin_sparse(const Records& records, uint64_t stored, TarHeader& header) {
  auto text = [&](const char* key) {
    auto found = records.find(key);
    return found == records.end() ? std::string() : found->second;
  };
  std::string version = text("GNU.sparse.major") + "." + text("GNU.sparse.minor");
  std::string map = text("GNU.sparse.map");
  bool in_content = version == "1.0";
  if (!in_content && map.empty() && version == ".") return;
  if (!in_content && version != "." && version != "0.0" && version != "0.1")
    fail(ErrorCode::kUnsupported, "tar archive: {}: sparse format {}", quote(header.path), quote(version));

  std::string size = text(in_content ? "GNU.sparse.realsize" : "GNU.sparse.size");
  if (size.empty()) size = text(in_content ? "GNU.sparse.size" : "GNU.sparse.realsize");
  if (size.empty()) corrupt("a sparse file without its size");
  real_size_ = checked_size(record_number(size, "sparse size"));

  std::vector<uint64_t> numbers = in_content ? read_sparse_map() : parse_sparse_numbers(map);
  if (numbers.size() % 2 != 0) corrupt("malformed sparse map");
  extents_.clear();
  uint64_t end = 0, total = 0;
  for (size_t i = 0; i < numbers.size(); i += 2) {
    Extent extent{numbers[i], numbers[i + 1]};
    if (extent.offset < end || extent.length > real_size_ || extent.offset > real_size_ - extent.length)
      corrupt("sparse map out of order or beyond the end of its file");
    end = extent.offset + extent.length;
    total += extent.length;
    if (extent.length > 0) extents_.push_back(extent);
  }
  if (total != stored_) corrupt("sparse map and stored content differ in length");
  padding_ = padding_after(stored);
  header.size = real_size_;
  sparse_ = true;
  extent_ = 0;
  position_ = 0;
}

// Sparse 1.0: decimal numbers, each with a newline: how many pairs, then the pairs; zeros up to a block's
// end.
std::vector<uint64_t> TarReader::read_sparse_map() {
  std::vector<uint64_t> numbers;
  uint64_t count = 0, value = 0;
  bool have_count = false;
  int digits = 0;
  for (;;) {
    char block[kTarBlockBytes];
    if (stored_ < sizeof block) corrupt("truncated sparse map");
    read_stored(block, sizeof block);
    for (char c : block) {
      if (c == '\n' && digits > 0) {
        if (!have_count) {
          if (value > kMaxSparseExtents) corrupt("sparse map of too many pieces");
          count = value * 2;
          have_count = true;
        } else {
          numbers.push_back(value);
        }
        if (numbers.size() == count) return numbers;
        value = 0;
        digits = 0;
      } else if (c >= '0' && c <= '9' && digits < 18) {
        value = value * 10 + static_cast<uint64_t>(c - '0');
        digits++;
      } else {
        corrupt("malformed sparse map");
      }
    }
  }
}

// Exactly `size` of the current member's stored bytes.
void TarReader::read_stored(void* data, size_t size) {
  size_t count = read_fully(from_, data, size);
  offset_ += count;
  stored_ -= count;
  if (count != size) corrupt("truncated in a member");
}

void TarReader::skip_rest() {
  char buffer[16 << 10];
  uint64_t rest = stored_ + padding_;
  while (rest > 0) {
    size_t count = from_.read(buffer, static_cast<size_t>(std::min<uint64_t>(rest, sizeof buffer)));
    if (count == 0) corrupt("truncated in a member");
    offset_ += count;
    rest -= count;
  }
  stored_ = padding_ = 0;
  sparse_ = false;
}

size_t TarReader::read_data(void* data, size_t size) {
  if (size == 0) return 0;
  uint64_t run = stored_;  // what can be read from the stream in one go
  if (sparse_) {
    while (extent_ < extents_.size() && position_ == extents_[extent_].offset + extents_[extent_].length)
      extent_++;
    uint64_t hole_end = extent_ < extents_.size() ? extents_[extent_].offset : real_size_;
    if (position_ < hole_end) {
      size_t count = static_cast<size_t>(std::min<uint64_t>(size, hole_end - position_));
      memset(data, 0, count);
      position_ += count;
      return count;
    }
    if (extent_ == extents_.size()) return 0;
    run = extents_[extent_].offset + extents_[extent_].length - position_;
  }
  if (run == 0) return 0;
  size_t count = from_.read(data, static_cast<size_t>(std::min<uint64_t>(size, run)));
  if (count == 0) corrupt("truncated in a member");
  offset_ += count;
  stored_ -= count;
  position_ += count;
  return count;
}

}  // namespace corten::archive
