// Archives and compressed streams of strangers. What is read is bounded by what is there, and what was read
// can be written and read again.
#include <cstring>

#include "archive/ar.h"
#include "archive/compression.h"
#include "archive/gzip_encoder.h"
#include "archive/tar.h"
#include "archive/tar_fields.h"
#include "fuzz/fuzz.h"

namespace corten::fuzz {

using namespace corten::archive;

namespace {

constexpr uint64_t kMostContent = 1 << 20;

std::string block(std::string_view name, char type, std::string_view size) {
  TarBlock b;
  memset(&b, 0, sizeof b);
  memcpy(b.name, name.data(), name.size());
  memcpy(b.mode, "0000644", 7);
  memcpy(b.size, size.data(), size.size());
  memcpy(b.magic, "ustar", 6);
  b.type = type;
  if (type == '1' || type == '2') memcpy(b.link, "../x", 4);
  b.set_checksum();
  return std::string(b.bytes());
}
std::string padded(std::string text) {
  text.resize((text.size() + 511) / 512 * 512);
  return text;
}
std::string described(char type, const std::string& text) {
  return block("m", type,
               std::to_string(text.size() / 64) + std::to_string(text.size() / 8 % 8) +
                   std::to_string(text.size() % 8)) +
         padded(text);
}
const std::string kEnd(1024, '\0');

std::string sparse(const std::string& map) {
  return described('x', format_pax_record("GNU.sparse.major", "1") +
                            format_pax_record("GNU.sparse.minor", "0") +
                            format_pax_record("GNU.sparse.realsize", "9000000000000000") +
                            format_pax_record("GNU.sparse.name", "s")) +
         block("s", '0', "1003") + padded(map) + padded("abc") + kEnd;
}

// Most changes would end at the checksum.
std::string with_checksums(std::string_view input) {
  std::string bytes(input);
  for (size_t at = 0; at + kTarBlockBytes <= bytes.size(); at += kTarBlockBytes) {
    if (bytes.compare(at + 257, 5, "ustar") != 0) continue;
    TarBlock b;
    memcpy(&b, bytes.data() + at, sizeof b);
    b.set_checksum();
    memcpy(bytes.data() + at, &b, sizeof b);
  }
  return bytes;
}

}  // namespace

// Headers are as large as their limits say; a member has the content that its header tells, holes included;
// what was read is written canonically, and read again as the same.
FUZZ_TARGET(tar, block("a", '0', "3") + padded("abc") + kEnd,
            block("d/", '5', "0") + block("l", '2', "0") + kEnd,
            described('x', format_pax_record("path", "long") + format_pax_record("mtime", "-1.5") +
                               format_pax_record("SCHILY.xattr.user.a", "b")) +
                block("a", '0', "0") + kEnd,
            described('g', format_pax_record("uid", "7")) + block("a", '1', "0") + kEnd,
            described('L', std::string("n\0", 2)) + described('K', std::string("k\0", 2)) +
                block("a", '2', "0") + kEnd,
            sparse("1\n8999999999999997\n3\n"), sparse("2\n0\n1\n5\n2\n"), block("s", 'S', "0") + kEnd,
            block("n", '0', "\x80\0\0\0\0\0\0\0\0\0\x01") + kEnd,
            block("n", '0', "\xff\xff\xff\xff\xff") + kEnd) {
  std::string bytes = with_checksums(input);
  StringSource from(bytes);
  TarReader reader(from);
  StringSink sink;
  TarWriter writer(sink);
  std::vector<TarHeader> headers;
  bool is_whole = tolerate({ErrorCode::kCorrupt, ErrorCode::kUnsupported}, [&] {
    while (auto header = reader.next()) {
      REQUIRE(!header->path.empty() && header->path.size() <= kMaxNameBytes &&
              header->link.size() <= kMaxNameBytes);
      REQUIRE(header->path.find('\0') == std::string::npos && header->link.find('\0') == std::string::npos);
      REQUIRE(header->mode <= 07777 && header->mtime_ns < 1'000'000'000 && header->size <= kMaxMemberBytes);
      bool is_link = header->type == TarType::kSymlink || header->type == TarType::kHardlink;
      REQUIRE(is_link != header->link.empty());
      size_t attributes = 0;
      for (const auto& [name, value] : header->xattrs) attributes += name.size() + value.size();
      REQUIRE(attributes <= 2 * (kMaxPaxBytes + kMaxGlobalPaxBytes));
      if (header->size > kMostContent) {
        BoundedSource some(reader.data(), kMostContent);
        drain(some);
        continue;
      }
      std::string content = read_rest(reader.data(), kMostContent);
      REQUIRE(header->type != TarType::kFile || content.size() == header->size);
      // A time of a year that PAX's 18 digits do not reach has no form of its own.
      if (header->mtime > 100'000'000'000'000'000 || header->mtime < -100'000'000'000'000'000) continue;
      if (!tolerate({ErrorCode::kInvalid}, [&] { writer.add(*header, content); })) return;
      headers.push_back(std::move(*header));
    }
  });
  REQUIRE(reader.offset() <= bytes.size());
  if (!is_whole) return;
  writer.finish();
  StringSource again(sink.bytes());
  TarReader second(again);
  for (const TarHeader& header : headers) {
    auto same = second.next();
    REQUIRE(same.has_value());
    REQUIRE(*same == header);
  }
  REQUIRE(!second.next());
}

FUZZ_TARGET(pax_records, "25 path=some/thing/long\n", "9 a=b=cd\n6 a=b\n",
            "23 GNU.sparse.offset=3\n25 GNU.sparse.numbytes=2\n", "99999999999999999999 a=b\n") {
  tolerate({ErrorCode::kCorrupt}, [&] {
    std::string text;
    auto records = parse_pax_records(input);
    for (const auto& [key, value] : records) {
      REQUIRE(!key.empty() && key.find('\0') == std::string::npos);
      text += format_pax_record(key, value);
    }
    REQUIRE(text.size() <= input.size() + 64);
    REQUIRE(parse_pax_records(text) == records);
  });
  if (auto time = parse_pax_time(input)) {
    REQUIRE(time->ns < 1'000'000'000);
    auto same = parse_pax_time(format_pax_time(time->seconds, time->ns));
    REQUIRE(same && same->seconds == time->seconds && same->ns == time->ns);
  }
  tolerate({ErrorCode::kCorrupt}, [&] { parse_tar_number(input.substr(0, 12), "n"); });
}

namespace {
std::string gzipped(std::string_view text) {
  StringSink sink;
  GzipWriter writer(sink);
  writer.write(text);
  writer.finish();
  return sink.take();
}
}  // namespace

// Whatever the magic says: an end or an Error, in bounded memory; bytes that expand more than deflate can are
// none.
FUZZ_TARGET(
    compressed, gzipped("hello hello hello"), gzipped("") + gzipped("x") + std::string(9, '\0'),
    std::string("\x28\xb5\x2f\xfd\x24\x05\x29\0\0hello\x99\xe9\xd8\x51", 18),
    std::string("BZh9\x17\x72\x45\x38\x50\x90\0\0\0\0", 14),
    std::string("\xfd"
                "7zXZ\0\0\x04\xe6\xd6\xb4\x46\0\0\0\0\x1c\xdf\x44\x21\x1f\xb6\xf3\x7d\x01\0\0\0\0\x04YZ",
                32)) {
  tolerate({ErrorCode::kCorrupt, ErrorCode::kUnsupported}, [&] {
    StringSource from(input);
    auto plain = open_decompressor(from);
    char buffer[4096];
    uint64_t size = 0;
    for (size_t n = 1; n > 0 && size < (uint64_t{16} << 20); size += n)
      n = plain->read(buffer, sizeof buffer);
    if (detect_compression(input.substr(0, 6)) == Compression::kNone) REQUIRE(size == input.size());
  });
}

// What our encoder writes of any bytes is read back, by the decoder of everybody's gzip.
FUZZ_TARGET(gzip_round_trip, "abcabcabcabc", std::string(3000, 'x'), "a") {
  std::string packed = gzipped(input);
  StringSource from(packed);
  auto plain = open_decompressor(from);
  REQUIRE(read_rest(*plain, 1 << 20) == input);
}

FUZZ_TARGET(ar,
            "!<arch>\ndebian-binary   1342943816  0     0     100644  4         `\n2.0\n"
            "control.tar.gz  1342943816  0     0     100644  3         `\nabc\n",
            "!<arch>\n//                                              8         `\nlong/\n\n\n",
            "!<arch>\n") {
  tolerate({ErrorCode::kCorrupt, ErrorCode::kUnsupported}, [&] {
    StringSource from(input);
    ArReader reader(from);
    uint64_t total = 0;
    while (auto member = reader.next()) {
      std::string content = read_rest(reader.data(), kMostContent);
      REQUIRE(content.size() == member->size);
      total += content.size();
    }
    REQUIRE(total <= input.size());
  });
}

}  // namespace corten::fuzz
