#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <functional>

#include "archive/peer_programs_test.h"
#include "archive/tar.h"
#include "archive/tar_fields.h"
#include "base/error.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"

namespace corten::archive {
namespace {

// A header made by hand, for what no proper writer makes.
TarBlock block(std::string_view name, char type = '0', std::string_view size = "0") {
  TarBlock b;
  memset(&b, 0, sizeof b);
  memcpy(b.name, name.data(), std::min(name.size(), sizeof b.name));
  memcpy(b.mode, "0000644", 7);
  memcpy(b.size, size.data(), size.size());
  memcpy(b.magic, "ustar", 6);
  memcpy(b.version, "00", 2);
  b.type = type;
  b.set_checksum();
  return b;
}

std::string bytes_of(TarBlock b) {
  b.set_checksum();
  return std::string(b.bytes());
}

std::string padded(std::string content) {
  content.resize((content.size() + 511) / 512 * 512);
  return content;
}

// A 'x', 'g', 'L' or 'K' header with its content.
std::string meta(char type, const std::string& content) {
  return bytes_of(block("meta", type, fmt::format("{:011o}", content.size()))) + padded(content);
}

std::string record(std::string_view key, std::string_view value) {
  return format_pax_record(key, value);
}

const std::string kEnd(1024, '\0');

struct Outcome {
  std::vector<TarHeader> headers;
  std::vector<std::string> contents;
  std::optional<ErrorCode> code;
  std::string problem;
};

Outcome read(std::string_view bytes) {
  Outcome outcome;
  StringSource from(bytes);
  TarReader reader(from);
  try {
    while (auto header = reader.next()) {
      outcome.headers.push_back(*header);
      outcome.contents.push_back(read_rest(reader.data(), 8 << 20));
    }
  } catch (const Error& error) {
    outcome.code = error.code();
    outcome.problem = error.what();
  }
  return outcome;
}

void expect_corrupt(std::string_view bytes, std::string_view why) {
  Outcome outcome = read(bytes);
  EXPECT_EQ(outcome.code, ErrorCode::kCorrupt) << why << ": " << outcome.problem;
}

TEST(TarReader, EmptyInputsHaveNoMembers) {
  for (const std::string& bytes :
       {std::string(), std::string(512, '\0'), kEnd, kEnd + "rubbish after the end"}) {
    Outcome outcome = read(bytes);
    EXPECT_FALSE(outcome.code) << outcome.problem;
    EXPECT_TRUE(outcome.headers.empty());
  }
}

TEST(TarReader, LooksLikeTar) {
  EXPECT_TRUE(looks_like_tar(block("a").bytes()));
  EXPECT_FALSE(looks_like_tar(kEnd));
  EXPECT_FALSE(looks_like_tar(block("a").bytes().substr(1)));
  std::string wrong(block("a").bytes());
  wrong[0] = 'b';
  EXPECT_FALSE(looks_like_tar(wrong));
}

TEST(TarReader, Version7) {
  TarBlock b = block("old/file", '\0', "3");
  memset(b.magic, 0, sizeof b.magic + sizeof b.version);
  memset(b.prefix, 'x', sizeof b.prefix);  // means nothing in v7
  TarBlock directory = block("old/", '\0');
  Outcome outcome = read(bytes_of(directory) + bytes_of(b) + padded("abc") + kEnd);
  ASSERT_EQ(outcome.headers.size(), 2u) << outcome.problem;
  EXPECT_EQ(outcome.headers[0].path, "old");
  EXPECT_EQ(outcome.headers[0].type, TarType::kDirectory);
  EXPECT_EQ(outcome.headers[1].path, "old/file");
  EXPECT_EQ(outcome.contents[1], "abc");
}

TEST(TarReader, SignedChecksumsCount) {
  TarBlock b = block("\xff\xfe");
  int64_t sum = 0;
  memset(b.checksum, ' ', 8);
  for (char c : b.bytes()) sum += static_cast<signed char>(c);
  std::string text = fmt::format("{:06o}", sum);
  memcpy(b.checksum, text.data(), 6);
  b.checksum[6] = '\0';
  EXPECT_EQ(read(std::string(b.bytes()) + kEnd).headers.size(), 1u);
}

TEST(TarReader, StarsPrefixIsShorter) {
  TarBlock b = block("name");
  memcpy(b.prefix, "directory", 9);
  memcpy(b.prefix + 131, "00000000000 ", 12);
  memcpy(b.rest + 8, "tar", 4);
  EXPECT_EQ(read(bytes_of(b) + kEnd).headers.at(0).path, "directory/name");
}

TEST(TarReader, Base256Numbers) {
  TarBlock b = block("a");
  memset(b.mtime, 0xff, sizeof b.mtime);  // -1
  memcpy(b.uid, "\x80\0\0\0\xff\xff\xff\xfe", 8);
  Outcome outcome = read(bytes_of(b) + kEnd);
  ASSERT_EQ(outcome.headers.size(), 1u) << outcome.problem;
  EXPECT_EQ(outcome.headers[0].mtime, -1);
  EXPECT_EQ(outcome.headers[0].uid, 4294967294u);

  memcpy(b.uid, "\x80\0\0\1\0\0\0\0", 8);
  expect_corrupt(bytes_of(b) + kEnd, "an uid of 33 bits");
  memset(b.uid, 0xff, 8);
  expect_corrupt(bytes_of(b) + kEnd, "a negative uid");
  memset(b.uid, 0, 8);
  memset(b.size, 0xff, 12);
  expect_corrupt(bytes_of(b) + kEnd, "a negative size");
  memcpy(b.size, "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 12);
  expect_corrupt(bytes_of(b) + kEnd, "a huge size");
  memcpy(b.size, "\x80\1\0\0\0\0\0\0\0\0\0\1", 12);
  expect_corrupt(bytes_of(b) + kEnd, "a size beyond 64 bits");
}

TEST(TarReader, RefusesMalformedNumbers) {
  for (std::string_view size : {"8", "1 1", "-1", "0x1"})
    expect_corrupt(bytes_of(block("a", '0', size)) + kEnd, size);
  EXPECT_EQ(read(bytes_of(block("a", '0', "   2 ")) + padded("xy") + kEnd).contents.at(0), "xy");
}

TEST(TarReader, RefusesUnknownTypesByNumber) {
  for (auto [flag, text] : {std::pair{'S', "unhandled tar header type 83"},
                            {'V', "unhandled tar header type 86"},
                            {'M', "unhandled tar header type 77"},
                            {'?', "unhandled tar header type 63"}}) {
    Outcome outcome = read(bytes_of(block("a", flag)) + kEnd);
    EXPECT_EQ(outcome.code, ErrorCode::kUnsupported);
    EXPECT_EQ(outcome.problem, text);
  }
}

TEST(TarReader, TruncationIsRefusedEverywhere) {
  std::string bytes =
      meta('x', record("path", "name")) + bytes_of(block("a", '0', "1000")) + padded(std::string(512, 'x'));
  for (size_t cut = 1; cut < bytes.size(); cut += 37)
    expect_corrupt(std::string_view(bytes).substr(0, cut), std::to_string(cut));
  expect_corrupt(meta('x', record("path", "name")), "nothing after an extended header");
  expect_corrupt(meta('x', record("path", "name")) + kEnd, "the end after an extended header");
  EXPECT_FALSE(read(bytes).code);                     // no end mark: as Go, accepted
  EXPECT_FALSE(read(bytes + kEnd.substr(512)).code);  // half of one
  expect_corrupt(bytes + kEnd.substr(512) + bytes, "a lone zero block");
}

TEST(TarReader, PaxRecordsOverrideTheHeader) {
  std::string records =
      record("path", "caf\xc3\xa9/file") + record("uid", "3000000000") + record("gid", "7") +
      record("mtime", "-1.5") + record("size", "3") + record("atime", "1") + record("comment", "x=y\nz") +
      record("SCHILY.xattr.user.b", std::string("\0=\n", 3)) + record("LIBARCHIVE.xattr.user.b", "b3RoZXI") +
      record("LIBARCHIVE.xattr.user%2Ec", "b3RoZXI");
  Outcome outcome = read(meta('x', records) + bytes_of(block("short", '0', "7777")) + padded("abc") +
                         bytes_of(block("next")) + kEnd);
  ASSERT_EQ(outcome.headers.size(), 2u) << outcome.problem;
  const TarHeader& header = outcome.headers[0];
  EXPECT_EQ(header.path, "caf\xc3\xa9/file");
  EXPECT_EQ(header.uid, 3'000'000'000u);
  EXPECT_EQ(header.gid, 7u);
  EXPECT_EQ(header.mtime, -2);
  EXPECT_EQ(header.mtime_ns, 500'000'000u);
  EXPECT_EQ(outcome.contents[0], "abc");
  std::map<std::string, std::string> attributes{{"user.b", std::string("\0=\n", 3)}, {"user.c", "other"}};
  EXPECT_EQ(header.xattrs, attributes);
  EXPECT_EQ(outcome.headers[1].path, "next");
  EXPECT_TRUE(outcome.headers[1].xattrs.empty());
}

TEST(TarReader, GlobalRecordsLast) {
  std::string bytes = meta('g', record("uid", "5") + record("gid", "6")) + bytes_of(block("a")) +
                      meta('x', record("uid", "9") + record("gid", "")) + bytes_of(block("b")) +
                      meta('g', record("gid", "")) + bytes_of(block("c")) +
                      meta('g', record("comment", "the last one")) + kEnd;
  Outcome outcome = read(bytes);
  ASSERT_EQ(outcome.headers.size(), 3u) << outcome.problem;
  EXPECT_EQ(outcome.headers[0].uid, 5u);
  EXPECT_EQ(outcome.headers[0].gid, 6u);
  EXPECT_EQ(outcome.headers[1].uid, 9u);
  EXPECT_EQ(outcome.headers[1].gid, 0u);
  EXPECT_EQ(outcome.headers[2].uid, 5u);
  EXPECT_EQ(outcome.headers[2].gid, 0u);
  std::string many;
  for (int i = 0; i < 20; i++) many += meta('g', record("key" + std::to_string(i), std::string(60'000, 'v')));
  expect_corrupt(many + bytes_of(block("a")) + kEnd, "global headers without end");
  many.clear();
  for (int i = 0; i < 300; i++) many += meta('g', record("key" + std::to_string(i), "v"));
  expect_corrupt(many + bytes_of(block("a")) + kEnd, "global headers of many records");
}

TEST(TarReader, RefusesMalformedRecords) {
  for (std::string records : {"5 a=b", "6 a=b", "7 a=b\n", "x a=b\n", "99999 a=b\n", "0 a=b\n", "6 a-b\n",
                              "6 =bb\n", " 6 a=b\n", "-6 a=b\n", "99999999999999999999 a=b\n", "3 \n", "\n"})
    expect_corrupt(meta('x', records) + bytes_of(block("a")) + kEnd, records);
  expect_corrupt(meta('x', record("path", std::string("a\0b", 3))) + bytes_of(block("a")) + kEnd,
                 "NUL in path");
  expect_corrupt(meta('x', record("path", std::string(70'000, 'x'))) + bytes_of(block("a")) + kEnd,
                 "long path");
  expect_corrupt(meta('x', record("size", "-1")) + bytes_of(block("a")) + kEnd, "negative size");
  expect_corrupt(meta('x', record("size", "9223372036854775807")) + bytes_of(block("a")) + kEnd, "huge size");
  expect_corrupt(meta('x', record("uid", "4294967295")) + bytes_of(block("a")) + kEnd, "uid -1");
  for (const char* time : {"1.x", "x", "1e3", "-", ".5", "--1", "1234567890123456789"})
    expect_corrupt(meta('x', record("mtime", time)) + bytes_of(block("a")) + kEnd, time);
  expect_corrupt(meta('x', record("SCHILY.xattr.", "x")) + bytes_of(block("a")) + kEnd, "nameless attribute");
  expect_corrupt(meta('x', record("LIBARCHIVE.xattr.a", "*")) + bytes_of(block("a")) + kEnd, "no base64");
}

TEST(TarReader, HeadersClaimButDoNotAllocate) {
  // Claims of 8 GiB with nothing behind them: refused at once by their limits, or found truncated.
  for (char type : {'x', 'g', 'L', 'K'})
    expect_corrupt(bytes_of(block("a", type, "77777777777")) + kEnd, std::string(1, type));
  expect_corrupt(bytes_of(block("a", 'x', "4000001")) + std::string(512, 'x'), "just above 1 MiB");
  expect_corrupt(bytes_of(block("a", '0', "77777777777")) + kEnd, "file");
}

TEST(TarReader, GnuLongNames) {
  std::string name(300, 'n'), link(300, 'l');
  Outcome outcome = read(meta('L', name + '\0') + meta('K', link + '\0') + bytes_of(block("cut", '2')) +
                         bytes_of(block("next")) + kEnd);
  ASSERT_EQ(outcome.headers.size(), 2u) << outcome.problem;
  EXPECT_EQ(outcome.headers[0].path, name);
  EXPECT_EQ(outcome.headers[0].link, link);
  EXPECT_EQ(outcome.headers[1].path, "next");
}

TEST(TarReader, RefusesNamelessMembers) {
  expect_corrupt(bytes_of(block("")) + kEnd, "no name");
  expect_corrupt(bytes_of(block("a", '2')) + kEnd, "symlink without target");
  expect_corrupt(bytes_of(block("a", '1')) + kEnd, "hard link without target");
  EXPECT_EQ(read(bytes_of(block("/", '5')) + kEnd).headers.at(0).path, "/");
  EXPECT_EQ(read(bytes_of(block("./", '5')) + kEnd).headers.at(0).path, ".");
}

TEST(TarReader, OnlyFilesHaveContent) {
  // A size in another member's header means nothing (Go and Python agree).
  Outcome outcome =
      read(bytes_of(block("d", '5', "512")) + bytes_of(block("f", '0', "1")) + padded("x") + kEnd);
  ASSERT_EQ(outcome.headers.size(), 2u) << outcome.problem;
  EXPECT_EQ(outcome.headers[0].size, 0u);
  EXPECT_EQ(outcome.contents[1], "x");
}

std::string sparse_0(std::string_view map, std::string_view real_size, const std::string& stored) {
  return meta('x', record("GNU.sparse.map", map) + record("GNU.sparse.size", real_size) +
                       record("GNU.sparse.name", "s")) +
         bytes_of(block("x", '0', fmt::format("{:o}", stored.size()))) + padded(stored) + kEnd;
}

std::string sparse_1(const std::string& map, std::string_view real_size, const std::string& stored) {
  std::string content = padded(map) + stored;
  return meta('x', record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") +
                       record("GNU.sparse.realsize", real_size) + record("GNU.sparse.name", "s")) +
         bytes_of(block("x", '0', fmt::format("{:o}", content.size()))) + padded(content) + kEnd;
}

TEST(TarReader, SparseFilesExpand) {
  std::string expected = std::string(3, '\0') + "ab" + std::string(2, '\0') + "c" + std::string(2, '\0');
  EXPECT_EQ(read(sparse_0("3,2,7,1", "10", "abc")).contents.at(0), expected);
  EXPECT_EQ(read(sparse_0("3,2,7,1,10,0", "10", "abc")).contents.at(0), expected);
  EXPECT_EQ(read(sparse_1("2\n3\n2\n7\n1\n", "10", "abc")).contents.at(0), expected);
  EXPECT_EQ(read(sparse_1("0\n", "4", "")).contents.at(0), std::string(4, '\0'));
  std::string repeated =
      meta('x', record("GNU.sparse.size", "10") + record("GNU.sparse.numblocks", "2") +
                    record("GNU.sparse.offset", "3") + record("GNU.sparse.numbytes", "2") +
                    record("GNU.sparse.offset", "7") + record("GNU.sparse.numbytes", "1")) +
      bytes_of(block("x", '0', "3")) + padded("abc") + bytes_of(block("after")) + kEnd;
  Outcome outcome = read(repeated);
  ASSERT_EQ(outcome.headers.size(), 2u) << outcome.problem;
  EXPECT_EQ(outcome.contents[0], expected);
  EXPECT_EQ(outcome.headers[0].size, 10u);
}

TEST(TarReader, RefusesLyingSparseMaps) {
  expect_corrupt(sparse_0("3,2,4,1", "10", "abc"), "overlap");
  expect_corrupt(sparse_0("7,1,3,2", "10", "abc"), "order");
  expect_corrupt(sparse_0("3,2,9,1", "9", "abc"), "beyond the end");
  expect_corrupt(sparse_0("3,2,7", "10", "abc"), "half a pair");
  expect_corrupt(sparse_0("3,2", "10", "abc"), "more content than map");
  expect_corrupt(sparse_0("3,4", "10", "abc"), "less content than map");
  expect_corrupt(sparse_0("9223372036854775807,9223372036854775807", "10", "abc"), "overflow");
  expect_corrupt(sparse_0("-1,2", "10", "ab"), "negative");
  expect_corrupt(sparse_0("0,3", "-5", "abc"), "negative size");
  expect_corrupt(sparse_1("999999999\n", "10", ""), "many pieces");
  expect_corrupt(sparse_1("2\n3\n2\n7\n", "10", "abc"), "map ends early");
  expect_corrupt(sparse_1("x\n", "10", "abc"), "no number");
  expect_corrupt(sparse_1("99999999999999999999\n", "10", "abc"), "long number");
}

// Random damage to a valid archive: never a crash, never anything but an Error, whatever is read.
TEST(TarReader, SurvivesDamage) {
  StringSink sink;
  TarWriter writer(sink);
  writer.add({.path = std::string(200, 'p'), .size = 5, .mtime_ns = 5, .xattrs = {{"user.a", "b"}}}, "hello");
  writer.add({.path = "l", .type = TarType::kSymlink, .link = std::string(200, 'l')}, "");
  writer.finish();
  std::string good = sink.take() + sparse_1("2\n3\n2\n7\n1\n", "10", "abc");
  uint64_t state = 42;
  auto random = [&](size_t bound) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<size_t>(state >> 33) % bound;
  };
  for (int round = 0; round < 3000; round++) {
    std::string bad = good;
    for (size_t i = 0; i <= random(4); i++) bad[random(bad.size())] = static_cast<char>(random(256));
    // Most damage would end at the checksum; mend it so that the fields are reached.
    for (size_t at = 0; at + 512 <= bad.size(); at += 512) {
      if (memcmp(bad.data() + at + 257, "ustar", 5) != 0) continue;
      TarBlock b;
      memcpy(&b, bad.data() + at, 512);
      b.set_checksum();
      memcpy(bad.data() + at, &b, 512);
    }
    read(bad);
  }
}

class PythonFormats : public testing::TestWithParam<const char*> {};

TEST_P(PythonFormats, AreRead) {
  CORTEN_NEEDS_PROGRAM("python3");
  std::string format = GetParam();
  std::string bytes = output_of({"python3", "-c", R"(
import io, sys, tarfile
format = getattr(tarfile, sys.argv[1] + '_FORMAT')
t = tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=format)
def add(name, kind=tarfile.REGTYPE, data=b'', **fields):
    m = tarfile.TarInfo(name)
    m.type, m.size, m.mode, m.mtime = kind, len(data), 0o640, 1700000000
    m.uname, m.gname = 'somebody', 'staff'
    for k, v in fields.items(): setattr(m, k, v)
    t.addfile(m, io.BytesIO(data))
add('dir', tarfile.DIRTYPE, mode=0o755)
add('dir/file', data=b'x' * 1000, uid=1000, gid=100)
add('d' * 90 + '/' + 'f' * 90, data=b'prefix')
add('link', tarfile.SYMTYPE, linkname='dir/file')
add('hard', tarfile.LNKTYPE, linkname='dir/file')
add('tty', tarfile.CHRTYPE, devmajor=5, devminor=1)
add('fifo', tarfile.FIFOTYPE)
if format != tarfile.USTAR_FORMAT:
    add('long/' * 60 + 'name', data=b'long')
    add('longlink', tarfile.SYMTYPE, linkname='t' * 200)
    add('big', uid=3000000000)
    add('gr\u00fc\u00df')
    add('old', mtime=-1)
if format == tarfile.PAX_FORMAT:
    add('fraction', mtime=1.5)
t.close()
)",
                                 format});
  Outcome outcome = read(bytes);
  ASSERT_FALSE(outcome.code) << outcome.problem;
  std::map<std::string, std::pair<TarHeader, std::string>> members;
  for (size_t i = 0; i < outcome.headers.size(); i++)
    members[outcome.headers[i].path] = {outcome.headers[i], outcome.contents[i]};
  EXPECT_EQ(members.at("dir").first.type, TarType::kDirectory);
  EXPECT_EQ(members.at("dir").first.mode, 0755u);
  const auto& [file, content] = members.at("dir/file");
  EXPECT_EQ(content, std::string(1000, 'x'));
  EXPECT_EQ(file.mode, 0640u);
  EXPECT_EQ(file.uid, 1000u);
  EXPECT_EQ(file.gid, 100u);
  EXPECT_EQ(file.mtime, 1700000000);
  EXPECT_EQ(members.at(std::string(90, 'd') + "/" + std::string(90, 'f')).second, "prefix");
  EXPECT_EQ(members.at("link").first.link, "dir/file");
  EXPECT_EQ(members.at("hard").first.type, TarType::kHardlink);
  EXPECT_EQ(members.at("hard").first.link, "dir/file");
  EXPECT_EQ(members.at("tty").first.type, TarType::kCharDevice);
  EXPECT_EQ(members.at("tty").first.device_major, 5u);
  EXPECT_EQ(members.at("tty").first.device_minor, 1u);
  EXPECT_EQ(members.at("fifo").first.type, TarType::kFifo);
  if (format != "USTAR") {
    std::string long_name;
    for (int i = 0; i < 60; i++) long_name += "long/";
    EXPECT_EQ(members.at(long_name + "name").second, "long");
    EXPECT_EQ(members.at("longlink").first.link, std::string(200, 't'));
    EXPECT_EQ(members.at("big").first.uid, 3'000'000'000u);
    EXPECT_EQ(members.at("old").first.mtime, -1);
    EXPECT_TRUE(members.contains("gr\xc3\xbc\xc3\x9f"));
  }
  if (format == "PAX") {
    EXPECT_EQ(members.at("fraction").first.mtime_ns, 500'000'000u);
  }
  EXPECT_EQ(members.size(), format == "USTAR" ? 7u : format == "GNU" ? 12u : 13u);
}

INSTANTIATE_TEST_SUITE_P(TarReader, PythonFormats, testing::Values("USTAR", "GNU", "PAX"),
                         [](const auto& made) { return std::string(made.param); });

TEST(TarReader, GnuTarsSparseFormsAreRead) {
  CORTEN_NEEDS_PROGRAM("tar");
  TempDir dir = TempDir::for_test();
  std::string expected = std::string(1 << 20, '\0') + "middle" + std::string(1 << 20, '\0') + "end";
  UniqueFd fd = open_file(dir / "sparse", O_CREAT | O_WRONLY);
  ASSERT_EQ(pwrite(fd.get(), "middle", 6, 1 << 20), 6);
  ASSERT_EQ(pwrite(fd.get(), "end", 3, (2 << 20) + 6), 3);
  fd.reset();
  for (const char* version : {"0.0", "0.1", "1.0"}) {
    SCOPED_TRACE(version);
    std::string bytes = output_of({"tar", "--format=pax", "--sparse", "--hole-detection=raw",
                                   std::string("--sparse-version=") + version, "-cf", "-", "sparse"},
                                  {}, dir.path());
    EXPECT_LT(bytes.size(), size_t{1} << 18);
    Outcome outcome = read(bytes);
    ASSERT_EQ(outcome.headers.size(), 1u) << outcome.problem;
    EXPECT_EQ(outcome.headers[0].path, "sparse");
    EXPECT_EQ(outcome.headers[0].size, expected.size());
    EXPECT_TRUE(outcome.contents[0] == expected);
  }
  Outcome outcome = read(output_of(
      {"tar", "--format=gnu", "--sparse", "--hole-detection=raw", "-cf", "-", "sparse"}, {}, dir.path()));
  EXPECT_EQ(outcome.problem, "unhandled tar header type 83");
}

}  // namespace
}  // namespace corten::archive
