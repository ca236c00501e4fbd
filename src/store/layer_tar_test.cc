#include "store/layer_tar.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "archive/tar_fields.h"
#include "base/beneath.h"
#include "base/error.h"
#include "base/temp_dir.h"

namespace corten::store {

using archive::TarHeader;
using archive::TarType;

class LayerTar : public testing::Test {
 protected:
  LayerTar() : contents_(dir_ / "contents", lease_) {
    for (const char* name : {"leases", "tmp"}) make_directories_on_host(dir_ / name);
  }
  static std::string tar(const std::vector<std::pair<TarHeader, std::string>>& members) {
    archive::StringSink sink;
    archive::TarWriter writer(sink);
    for (const auto& [header, data] : members) writer.add(header, data);
    writer.finish();
    return sink.take();
  }
  static std::pair<TarHeader, std::string> member(std::string path, TarType type, std::string detail = {}) {
    TarHeader h;
    h.path = std::move(path);
    h.type = type;
    h.mode = type == TarType::kDirectory ? 0755 : 0644;
    h.mtime = 1000;
    if (type == TarType::kFile)
      h.size = detail.size();
    else
      h.link = detail;
    return {h, type == TarType::kFile ? detail : ""};
  }
  Manifest read(const std::string& bytes, const Tree& below) {
    archive::StringSource source(bytes);
    return read_layer_tar(source, below, contents_);
  }
  TempDir dir_ = TempDir::for_test();
  Lease lease_{dir_.path()};
  Contents contents_;
  EmptyTree nothing_;
};

TEST_F(LayerTar, WritesWhatItReads) {
  std::string bytes = tar({member("d", TarType::kDirectory), member("d/f", TarType::kFile, "hello"),
                           member("d/h", TarType::kHardlink, "d/f"), member("l", TarType::kSymlink, "d/f")});
  Manifest manifest = read(bytes, nothing_);
  EXPECT_EQ(manifest.entries().size(), 4u);
  EXPECT_EQ(manifest.find(RootfsPath("d/h"))->hard_link.str(), "d/f");
  EXPECT_EQ(manifest.find(RootfsPath("d/f"))->time_ns, 1000'000'000'000);
  archive::StringSink sink;
  archive::TarWriter writer(sink);
  write_layer_tar(manifest, {.time = 5}, contents_, writer);
  writer.finish();
  EXPECT_EQ(read(sink.bytes(), nothing_).entries(), manifest.entries());
}

TEST_F(LayerTar, ObeysWhiteouts) {
  auto below = std::make_shared<const Manifest>(
      read(tar({member("a", TarType::kFile, "1"), member("d", TarType::kDirectory),
                member("d/x", TarType::kFile, "2"), member("d/y", TarType::kFile, "2")}),
           nothing_));
  RootfsView view({below});
  Manifest upper = read(tar({member(".wh.a", TarType::kFile), member("d/.wh..wh..opq", TarType::kFile),
                             member("d/new", TarType::kFile, "3"), member(".wh.never", TarType::kFile)}),
                        view);
  RootfsView both({below, std::make_shared<const Manifest>(upper)});
  EXPECT_FALSE(both.find(RootfsPath("a")));
  EXPECT_FALSE(both.find(RootfsPath("d/x")));
  EXPECT_TRUE(both.find(RootfsPath("d/new")));
  EXPECT_FALSE(upper.find(RootfsPath("never")));
}

TEST_F(LayerTar, NamesNeverLeaveTheRoot) {
  Manifest m = read(tar({member("../../x", TarType::kFile, "1"), member("/abs", TarType::kFile, "2"),
                         member("l", TarType::kSymlink, "../../../outside"),
                         member("l/f", TarType::kFile, "3"), member("real", TarType::kDirectory),
                         member("to", TarType::kSymlink, "/real"), member("to/g", TarType::kFile, "4")}),
                    nothing_);
  EXPECT_TRUE(m.find(RootfsPath("x")));
  EXPECT_TRUE(m.find(RootfsPath("abs")));
  EXPECT_TRUE(m.find(RootfsPath("outside/f")));
  EXPECT_TRUE(m.find(RootfsPath("real/g")));
}

TEST_F(LayerTar, AHardLinkIntoALowerLayerComesUp) {
  auto below = std::make_shared<const Manifest>(read(tar({member("f", TarType::kFile, "1")}), nothing_));
  RootfsView view({below});
  Manifest upper = read(tar({member("g", TarType::kHardlink, "f")}), view);
  EXPECT_TRUE(upper.find(RootfsPath("f")));
  EXPECT_EQ(upper.find(RootfsPath("g"))->hard_link.str(), "f");
  EXPECT_THROW(read(tar({member("g", TarType::kHardlink, "missing")}), view), Error);
}

TEST_F(LayerTar, NamesThatNoFileSystemTakesAreRefused) {
  std::string deep, wide(256, 'w');
  for (int i = 0; i < 20'000; i++) deep += "a/";
  EXPECT_THROW(read(tar({member(deep + "f", TarType::kFile, "1")}), nothing_), Error);
  EXPECT_THROW(read(tar({member(wide, TarType::kFile, "1")}), nothing_), Error);
  EXPECT_THROW(read(tar({member("l", TarType::kSymlink, deep)}), nothing_), Error);
}

TEST_F(LayerTar, ExtractsBelowADestination) {
  LayerBuilder builder(nothing_);
  std::string bytes = tar({member("../a", TarType::kFile, "1"), member("./", TarType::kDirectory),
                           member(".wh.kept", TarType::kFile, "2")});
  archive::StringSource source(bytes);
  ExtractOptions options;
  options.destination = RootfsPath("dest");
  options.owner = {7, 8};
  options.parent_like = default_root();
  extract_tar(source, options, builder, contents_);
  Manifest m = builder.finish();
  EXPECT_EQ(m.find(RootfsPath("dest/a"))->uid, 7u);
  EXPECT_TRUE(m.find(RootfsPath("dest/.wh.kept")));
}

TEST_F(LayerTar, TimesThatNoClockHasAreClamped) {
  auto late = member("late", TarType::kFile, "1"), early = member("early", TarType::kFile, "1");
  late.first.mtime = int64_t{100'000'000'000'000'000};
  early.first.mtime = -(int64_t{100'000'000'000'000'000});
  Manifest m = read(tar({late, early}), nothing_);
  EXPECT_GT(*m.find(RootfsPath("late"))->time_ns, int64_t{9} << 59);
  EXPECT_LT(*m.find(RootfsPath("early"))->time_ns, -(int64_t{9} << 59));
}

TEST_F(LayerTar, ACapabilityIsSmall) {
  auto f = member("f", TarType::kFile, "1");
  f.first.xattrs["security.capability"] = std::string(24, 'c');
  EXPECT_EQ(read(tar({f}), nothing_).find(RootfsPath("f"))->xattrs.map().size(), 1u);
  f.first.xattrs["security.capability"] = std::string(100'000, 'c');
  EXPECT_THROW(read(tar({f}), nothing_), Error);
}

// A kilobyte that claims eight petabytes, in the three forms that the reader knows.
TEST_F(LayerTar, HolesAreBounded) {
  using archive::format_pax_record;
  std::string size = "9007199254740992";
  std::string old_form =
      format_pax_record("GNU.sparse.size", size) + format_pax_record("GNU.sparse.map", "0,1");
  std::string new_form = format_pax_record("GNU.sparse.major", "1") +
                         format_pax_record("GNU.sparse.minor", "0") +
                         format_pax_record("GNU.sparse.realsize", size);
  auto block = [](char type, size_t bytes, std::string content) {
    archive::TarBlock b;
    memset(&b, 0, sizeof b);
    b.name[0] = 'h';
    memcpy(b.mode, "0000644", 7);
    memcpy(b.size, fmt::format("{:011o}", bytes).data(), 11);
    memcpy(b.magic, "ustar", 6);
    b.type = type;
    b.set_checksum();
    content.resize((content.size() + 511) / 512 * 512);
    return std::string(b.bytes()) + content;
  };
  std::string map = "1\n0\n1\n";
  map.resize(512);
  for (const std::string& bytes : {block('x', old_form.size(), old_form) + block('0', 1, "x"),
                                   block('x', new_form.size(), new_form) + block('0', 513, map + "x")}) {
    std::string whole = bytes + std::string(1024, '\0');
    archive::StringSource source(whole);
    try {
      read_layer_tar(source, nothing_, contents_, 1 << 20);
      FAIL() << "nothing stopped it";
    } catch (const Error& error) {
      EXPECT_STREQ(error.what(), "layer: its sparse files have holes of more than 1048576 bytes");
    }
  }
  // What is stored may be as large as it likes.
  auto big = member("f", TarType::kFile, std::string(3 << 20, 'x'));
  std::string plain = tar({big});
  archive::StringSource source(plain);
  EXPECT_EQ(read_layer_tar(source, nothing_, contents_, 1 << 20).content_bytes(), 3u << 20);
}

// The costs of what follows were quadratic: they ended, in hours. No time is asserted; the suite's limit is.
TEST_F(LayerTar, ManyHardLinksOfOneFile) {
  std::vector<std::pair<TarHeader, std::string>> members = {member("f", TarType::kFile, "1")};
  for (int i = 0; i < 30'000; i++) {
    members.push_back(member("l" + std::to_string(i), TarType::kHardlink, "f"));
    members.back().first.mode = 0600 | (i & 077);
  }
  Manifest m = read(tar(members), nothing_);
  EXPECT_EQ(m.entries().size(), 30'001u);
  for (const Entry& e : m.entries()) EXPECT_EQ(e.mode, 0600u | (29'999 & 077)) << e.path.str();
}

TEST_F(LayerTar, NamesOfOneFileThatAreReplacedOneByOne) {
  std::vector<std::pair<TarHeader, std::string>> members = {member("f00000", TarType::kFile, "1")};
  auto name = [](int i) { return fmt::format("f{:05}", i); };
  for (int i = 1; i < 4000; i++) members.push_back(member(name(i), TarType::kHardlink, "f00000"));
  for (int i = 0; i < 4000; i++) members.push_back(member(name(i), TarType::kDirectory));
  EXPECT_THROW(read(tar(members), nothing_), Error);
}

TEST_F(LayerTar, OpaqueMarksAreObeyedOnce) {
  std::vector<std::pair<TarHeader, std::string>> members;
  for (int i = 0; i < 20'000; i++) members.push_back(member("d/" + std::to_string(i), TarType::kFile));
  for (int i = 0; i < 20'000; i++) members.push_back(member("d/.wh..wh..opq", TarType::kFile));
  EXPECT_EQ(read(tar(members), nothing_).entries().size(), 20'001u);
}

// 1,000 directories a name, none of them a member: two kilobytes of the archive, megabytes of memory.
TEST_F(LayerTar, DirectoriesThatAreNoMembersCount) {
  std::string deep;
  for (int i = 0; i < 1000; i++) deep += "/d";
  std::vector<std::pair<TarHeader, std::string>> members;
  for (int i = 0; i < 20; i++) members.push_back(member(std::to_string(i) + deep, TarType::kFile));
  std::string bytes = tar(members);
  archive::StringSource source(bytes);
  LayerBuilder builder(nothing_);
  try {
    extract_tar(source, {.parent_like = default_root(), .max_memory_bytes = 10 << 20}, builder, contents_);
    FAIL() << "nothing stopped it";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "archive: it holds too many files, or too long names");
  }
}

TEST_F(LayerTar, AHardLinkOverItsOwnFileOrIntoItself) {
  Manifest m = read(tar({member("a", TarType::kFile, "1"), member("b", TarType::kHardlink, "a"),
                         member("a", TarType::kHardlink, "b")}),
                    nothing_);
  EXPECT_FALSE(m.find(RootfsPath("a"))->is_hard_link());
  EXPECT_EQ(m.find(RootfsPath("b"))->hard_link.str(), "a");
  // What it links to goes with what it takes the place of.
  for (const char* at : {"d", "d/f/x"})
    EXPECT_THROW(
        read(tar({member("d/f", TarType::kFile, "1"), member(at, TarType::kHardlink, "d/f")}), nothing_),
        Error)
        << at;
  // Another name takes over.
  m = read(tar({member("a", TarType::kFile, "1"), member("b", TarType::kHardlink, "a"),
                member("a/c", TarType::kHardlink, "b")}),
           nothing_);
  EXPECT_EQ(m.find(RootfsPath("a/c"))->hard_link.str() + m.find(RootfsPath("b"))->hard_link.str(), "a/c");
}

TEST_F(LayerTar, AHardLinkToANameWhoseFirstIsAnotherFileMeanwhile) {
  auto lower = std::make_shared<const Manifest>(
      read(tar({member("a", TarType::kFile, "old"), member("b", TarType::kHardlink, "a")}), nothing_));
  RootfsView view({lower});
  Digest old = lower->find(RootfsPath("a"))->content;
  for (const auto& change : {member("a", TarType::kFile, "new"), member(".wh.a", TarType::kFile)}) {
    Manifest m = read(tar({change, member("c", TarType::kHardlink, "b")}), view);
    const Entry* c = m.find(RootfsPath("c"));
    EXPECT_EQ(c->content, old);
    EXPECT_EQ(c->hard_link.str(), "b");
    EXPECT_EQ(m.find(RootfsPath("b"))->content, old);
  }
}

}  // namespace corten::store
