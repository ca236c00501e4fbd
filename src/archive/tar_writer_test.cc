#include <gtest/gtest.h>

#include "archive/peer_programs_test.h"
#include "archive/tar.h"
#include "base/error.h"
#include "base/strings.h"

namespace corten::archive {
namespace {

struct Member {
  TarHeader header;
  std::string content;
  bool operator==(const Member&) const = default;
};

std::string write_all(const std::vector<Member>& members) {
  StringSink sink;
  TarWriter writer(sink);
  for (const Member& member : members) writer.add(member.header, member.content);
  writer.finish();
  return sink.take();
}

std::vector<Member> read_all(std::string_view bytes) {
  StringSource from(bytes);
  TarReader reader(from);
  std::vector<Member> members;
  while (auto header = reader.next()) members.push_back({*header, read_rest(reader.data(), 64 << 20)});
  return members;
}

TarHeader file(std::string path, std::string_view content) {
  return {.path = std::move(path), .mode = 0644, .size = content.size(), .mtime = 1'700'000'000};
}

// One member for each rule in tar_writer.cc.
std::vector<Member> every_rule() {
  std::vector<Member> members;
  auto add = [&](TarHeader header, std::string content = {}) {
    header.size = content.size();
    members.push_back({std::move(header), std::move(content)});
  };
  add({.path = "etc", .type = TarType::kDirectory, .mode = 0755});
  add(file("etc/hostname", ""), "corten\n");
  add(file("block", ""), std::string(512, 'b'));
  add(file("empty", ""));
  add(file(std::string(100, 'n'), ""));
  add(file(std::string(101, 'n'), ""), "long");
  add(file(std::string(150, 'd') + "/" + std::string(100, 'f'), ""), "split");
  add(file(std::string(156, 'd') + "/" + std::string(100, 'f'), ""), "cannot be split");
  add({.path = std::string(60, 'a') + "/" + std::string(60, 'b'),
       .type = TarType::kDirectory,
       .mode = 01777});
  add({.path = std::string(99, 'a') + "/" + std::string(99, 'b'), .type = TarType::kDirectory, .mode = 0700});
  add({.path = std::string(155, 'a') + "/" + std::string(100, 'b'),
       .type = TarType::kDirectory,
       .mode = 0700});
  add({.path = "link", .type = TarType::kSymlink, .mode = 0777, .link = "../target"});
  add({.path = "long link", .type = TarType::kSymlink, .mode = 0777, .link = std::string(5000, 't')});
  add({.path = "hard", .type = TarType::kHardlink, .mode = 0644, .link = "etc/hostname"});
  add({.path = "null", .type = TarType::kCharDevice, .mode = 0666, .device_major = 1, .device_minor = 3});
  add({.path = "disk",
       .type = TarType::kBlockDevice,
       .mode = 0660,
       .gid = 6,
       .device_major = 4095,
       .device_minor = 1048575});
  add({.path = "fifo", .type = TarType::kFifo, .mode = 0600});
  add({.path = "ids", .mode = 06755, .uid = 2097151, .gid = 2097151});
  add({.path = "big ids", .uid = 2097152, .gid = 4294967294});
  add({.path = "ns", .mtime = 1'700'000'000, .mtime_ns = 123'456'789});
  add({.path = "half", .mtime = 7, .mtime_ns = 500'000'000});
  add({.path = "before 1970", .mtime = -2, .mtime_ns = 250'000'000});
  add({.path = "1969", .mtime = -1});
  add({.path = "last octal", .mtime = 8589934591});
  add({.path = "after octal", .mtime = 8589934592});
  add({.path = "gr\xc3\xbc\xc3\x9f", .mtime = 1});
  add({.path = "latin1 \xfc", .mtime = 1});
  add({.path = "attributes",
       .xattrs = {{"security.capability", std::string("\1\0\0\2\n=\xff", 7)},
                  {"user.a", ""},
                  {"user.b", "text"}}},
      "with attributes");
  return members;
}

TEST(TarWriter, RoundTripsEveryRule) {
  std::vector<Member> members = every_rule(), read = read_all(write_all(members));
  ASSERT_EQ(read.size(), members.size());
  for (size_t i = 0; i < members.size(); i++) {
    SCOPED_TRACE(members[i].header.path);
    EXPECT_EQ(read[i].header.xattrs.size(), members[i].header.xattrs.size());
    EXPECT_TRUE(read[i] == members[i]);
  }
}

TEST(TarWriter, IsCanonical) {
  // Frozen: a change here changes every diff id.
  std::string bytes = write_all(every_rule());
  EXPECT_EQ(bytes.size() % 512, 0u);
  EXPECT_EQ(bytes.substr(bytes.size() - 1024), std::string(1024, '\0'));
  EXPECT_EQ(Digest::of(bytes).hex(), "b12bb8574ee16c0bb20b403f3cab9fe24fc8b0add04538a5498d3a2b4fe1e039");

  std::string one = write_all({{file("a", "x"), "x"}});
  EXPECT_EQ(one.size(), 512u + 512 + 1024);
  EXPECT_EQ(one.substr(100, 48), std::string("0000644\0"
                                             "0000000\0"
                                             "0000000\0"
                                             "00000000001\0"
                                             "14524770400\0",
                                             48));
  EXPECT_EQ(one.substr(154, 3), std::string("\0 0", 3));
  EXPECT_EQ(one.substr(257, 8), std::string("ustar\0"
                                            "00",
                                            8));
}

TEST(TarWriter, PythonReadsIt) {
  CORTEN_NEEDS_PROGRAM("python3");
  std::string listing = output_of({"python3", "-c", R"(
import sys, tarfile
t = tarfile.open(fileobj=sys.stdin.buffer, mode='r|')
for m in t:
    data = t.extractfile(m).read() if m.isreg() else b''
    kind = {b'0': 'file', b'1': 'hard', b'2': 'sym', b'3': 'char', b'4': 'block', b'5': 'dir', b'6': 'fifo'}[m.type]
    name = m.name.encode('utf-8', 'surrogateescape').hex()
    link = m.linkname.encode('utf-8', 'surrogateescape').hex()
    print(kind, name, link, oct(m.mode), m.uid, m.gid, m.size, int(m.mtime // 1), m.devmajor, m.devminor, data.hex(),
          m.uname + m.gname, sep='|')
)"},
                                  write_all(every_rule()));
  std::string expected;
  static const char* const kKinds[] = {"file", "dir", "sym", "hard", "char", "block", "fifo"};
  auto hex = [](std::string_view text) {
    return to_hex({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  };
  for (const auto& [header, content] : every_rule())
    expected += fmt::format(
        "{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|\n", kKinds[static_cast<int>(header.type)], hex(header.path),
        hex(header.link), header.mode ? fmt::format("0o{:o}", header.mode) : "0o0", header.uid, header.gid,
        header.size, header.mtime, header.device_major, header.device_minor, hex(content));
  EXPECT_EQ(listing, expected);
}

TEST(TarWriter, GnuTarReadsIt) {
  CORTEN_NEEDS_PROGRAM("tar");
  std::string names = output_of({"tar", "--quoting-style=literal", "-tf", "-"}, write_all(every_rule()));
  std::string expected;
  for (const auto& [header, content] : every_rule())
    expected += header.path + (header.type == TarType::kDirectory ? "/\n" : "\n");
  EXPECT_EQ(names, expected);
}

class Recorder : public TarHints {
 public:
  explicit Recorder(const TarWriter*& writer) : writer_(writer) {}
  void member_begins() override { log += fmt::format("m{} ", writer_->offset()); }
  void data_begins(uint64_t size) override { log += fmt::format("d{}+{} ", writer_->offset(), size); }
  std::string log;

 private:
  const TarWriter*& writer_;
};

TEST(TarWriter, TellsWhereMembersLie) {
  const TarWriter* pointer = nullptr;
  Recorder hints(pointer);
  StringSink sink;
  TarWriter writer(sink, &hints);
  pointer = &writer;
  writer.add(file("a", "x"), "x");
  writer.add(file("empty", ""), "");
  writer.add({.path = "pax", .size = 3, .mtime_ns = 1}, "xyz");
  writer.finish();
  EXPECT_EQ(hints.log, "m0 d512+1 m1024 m1536 d3072+3 ");
}

TEST(TarWriter, RefusesWhatTarCannotSay) {
  auto problem = [](TarHeader header, std::string_view content = {}) -> std::string {
    try {
      StringSink sink;
      TarWriter writer(sink);
      writer.begin(header);
      writer.write(content);
      writer.finish();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalid);
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(problem({.path = "a"}), "");
  EXPECT_EQ(problem({.path = ""}), "tar member \"\": has no path");
  EXPECT_NE(problem({.path = std::string("a\0b", 3)}), "");
  EXPECT_NE(problem({.path = "a", .type = TarType::kSymlink}), "");
  EXPECT_NE(problem({.path = "a", .size = 2}, "x"), "");
  EXPECT_NE(problem({.path = "a", .size = 1}, "xx"), "");
  EXPECT_NE(problem({.path = "a", .type = TarType::kDirectory, .size = 1}, "x"), "");
  EXPECT_NE(problem({.path = "a", .mtime_ns = 1'000'000'000}), "");
  EXPECT_NE(problem({.path = "a", .xattrs = {{"a=b", "c"}}}), "");
  EXPECT_NE(problem({.path = std::string(70'000, 'x')}), "");
}

TEST(TarWriter, RefusesASourceOfAnotherLength) {
  for (std::string_view content : {"ab", "abcd"}) {
    StringSource from(content);
    StringSink sink;
    TarWriter writer(sink);
    EXPECT_THROW(writer.add({.path = "a", .size = 3}, from), Error);
  }
}

}  // namespace
}  // namespace corten::archive
