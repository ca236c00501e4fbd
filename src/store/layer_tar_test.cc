#include "store/layer_tar.h"

#include <gtest/gtest.h>

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

}  // namespace corten::store
