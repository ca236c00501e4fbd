#include "source/debian/package.h"

#include <gtest/gtest.h>

#include "archive/tar.h"
#include "base/error.h"
#include "source/debian/extracted_rootfs.h"
#include "source/debian/package_test.h"

namespace corten::source::debian {
namespace {

using archive::TarHeader;
using archive::TarType;

struct Member {
  TarHeader header;
  std::string content;
};

Member file(std::string path, std::string content, uint32_t mode = 0644) {
  TarHeader header{.path = std::move(path), .mode = mode, .size = content.size(), .mtime = 1'700'000'000};
  return {header, std::move(content)};
}
Member directory(std::string path, uint32_t mode = 0755) {
  return {{.path = std::move(path), .type = TarType::kDirectory, .mode = mode, .mtime = 1'600'000'000}, ""};
}
Member link(std::string path, std::string target, TarType type = TarType::kSymlink) {
  return {{.path = std::move(path),
           .type = type,
           .mode = 0777,
           .mtime = 1'700'000'000,
           .link = std::move(target)},
          ""};
}

std::string tar(const std::vector<Member>& members) {
  archive::StringSink sink;
  archive::TarWriter writer(sink);
  for (const Member& member : members) writer.add(member.header, member.content);
  writer.finish();
  return sink.take();
}

std::string deb(const std::vector<Member>& files, const std::string& control = "Package: x\nVersion: 1\n") {
  return ar({{"debian-binary", "2.0\n"},
             {"control.tar",
              tar({file("./control", control), file("./md5sums", "0 x\n"), file("./postinst", "exit 1")})},
             {"data.tar", tar(files)}});
}

class PackageTest : public testing::Test {
 protected:
  Package read(const std::string& bytes) {
    archive::StringSource from(bytes);
    return read_package(from, "x", store_.contents());
  }
  std::string problem(const std::string& bytes) {
    try {
      read(bytes);
    } catch (const Error& error) {
      EXPECT_NE(error.code(), ErrorCode::kInternal) << error.what();
      return error.what();
    }
    return "";
  }
  TempDir place_ = TempDir::for_test();
  store::Store store_{place_ / "store"};
};

TEST_F(PackageTest, FilesKeepTheirTimesAndModes) {
  Package package = read(deb({directory("./"), directory("./usr/"), directory("./usr/bin", 01777),
                              file("./usr/bin/su", "program", 04755), link("./usr/bin/l", "su"),
                              link("./usr/bin/hard", "./usr/bin/su", TarType::kHardlink)}));
  EXPECT_EQ(package.control, "Package: x\nVersion: 1\n");
  EXPECT_EQ(package.md5sums, "0 x\n");
  const store::Entry* su = package.files.find(RootfsPath("usr/bin/su"));
  ASSERT_TRUE(su);
  EXPECT_EQ(su->mode, 04755u);
  EXPECT_EQ(su->time_ns, 1'700'000'000'000'000'000);
  // The first of a hard link's names in path order holds the file, whatever the archive's order.
  EXPECT_TRUE(su->is_hard_link());
  EXPECT_EQ(su->hard_link.str(), "usr/bin/hard");
  EXPECT_EQ(package.files.find(RootfsPath("usr/bin"))->mode, 01777u);
  EXPECT_FALSE(package.files.find(RootfsPath("postinst")));
}

TEST_F(PackageTest, HostilePackages) {
  EXPECT_NE(problem(""), "");
  EXPECT_NE(problem("!<arch>\n"), "");
  EXPECT_NE(problem(ar({{"control.tar", ""}})), "");
  EXPECT_NE(problem(ar({{"debian-binary", "3.0\n"}})), "");
  EXPECT_NE(problem(ar({{"debian-binary", "2.0\n"}, {"data.tar", tar({})}})), "");
  EXPECT_NE(
      problem(ar({{"debian-binary", "2.0\n"}, {"control.tar", tar({file("control", "Package: x\n")})}})), "");
  EXPECT_NE(problem(ar({{"debian-binary", "2.0\n"},
                        {"control.tar", tar({file("control", "x")})},
                        {"data.tar", tar({})},
                        {"data.tar.gz", tar({})}})),
            "");
  EXPECT_NE(problem(deb({file("../etc/passwd", "x")})), "");
  EXPECT_NE(problem(deb({file("a/../../b", "x")})), "");
  EXPECT_NE(problem(deb({file("usr/.wh.bin", "x")})), "");
  EXPECT_NE(problem(deb({file("a", "x"), file("./a", "y")})), "");
  EXPECT_NE(problem(deb({link("a", "/etc/shadow", TarType::kHardlink)})), "");
  EXPECT_NE(
      problem(deb(
          {{{.path = "dev/mem", .type = TarType::kCharDevice, .device_major = 1, .device_minor = 1}, ""}})),
      "");
  std::string whole = deb({file("a", std::string(5000, 'x'))});
  for (size_t size : {10ul, 70ul, 700ul, whole.size() / 2, whole.size() - 3000})
    EXPECT_NE(problem(whole.substr(0, size)), "") << size;
}

TEST_F(PackageTest, MergedUsrAndSharedDirectories) {
  store::EmptyTree nothing;
  store::LayerBuilder root(nothing);
  make_merged_usr("amd64", root);
  place_package(read(deb({directory("bin"), file("bin/sh", "s"), directory("tmp", 01777), directory("lib"),
                          directory("lib/x86_64-linux-gnu"), file("lib/x86_64-linux-gnu/l", "l"),
                          link("lib64/ld", "/lib/x86_64-linux-gnu/l"), file("bin/one", "1"),
                          link("bin/two", "bin/one", TarType::kHardlink)})),
                root);
  place_package(read(deb({directory("tmp", 0700), directory("usr/bin", 0700), file("usr/bin/sh", "other")})),
                root);
  EXPECT_TRUE(root.find(RootfsPath("usr/bin/sh")));
  EXPECT_EQ(root.find(RootfsPath("usr/bin/sh"))->size, 5u) << "the later package replaces";
  EXPECT_EQ(root.find(RootfsPath("bin"))->link, "usr/bin");
  EXPECT_EQ(root.find(RootfsPath("tmp"))->mode, 01777u) << "a directory stays as the first made it";
  EXPECT_EQ(root.find(RootfsPath("usr/bin"))->mode, 0755u);
  EXPECT_TRUE(root.find(RootfsPath("usr/lib/x86_64-linux-gnu/l")));
  EXPECT_TRUE(root.find(RootfsPath("usr/lib64/ld")));
  EXPECT_EQ(root.find(RootfsPath("usr/bin/two"))->hard_link.str(), "usr/bin/one");
}

TEST_F(PackageTest, LinksDoNotLeadOut) {
  store::EmptyTree nothing;
  store::LayerBuilder root(nothing);
  place_package(read(deb({link("out", "../../../../etc"), link("abs", "/srv")})), root);
  place_package(read(deb({file("out/x", "x"), file("abs/y", "y")})), root);
  EXPECT_TRUE(root.find(RootfsPath("etc/x")));
  EXPECT_TRUE(root.find(RootfsPath("srv/y")));
}

TEST(BusyboxApplets, TheTableInTheBinary) {
  using namespace std::string_literals;
  EXPECT_EQ(busybox_applets("junk[\0[[\0ash\0busybox\0cat\0sh\0\0junk"s),
            (std::vector<std::string>{"[", "[[", "ash", "cat", "sh"}));
  EXPECT_THROW(busybox_applets("no table"s), Error);
  EXPECT_THROW(busybox_applets("[\0[[\0cat\0\0"s), Error) << "without a shell";
  EXPECT_THROW(busybox_applets("[\0[[\0../../x\0sh\0\0"s), Error);
  EXPECT_THROW(busybox_applets("[\0[[\0sh"s), Error) << "cut short";
}

}  // namespace
}  // namespace corten::source::debian
