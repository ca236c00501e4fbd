#include "source/image_archive.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive/tar.h"
#include "base/beneath.h"
#include "base/error.h"
#include "base/temp_dir.h"

namespace corten::source {

class ImageArchiveTest : public testing::Test {
 protected:
  ImageArchiveTest() {
    make_directories_on_host(place());
    make_directories_on_host(dir_ / "outside");
    write_file_atomic(dir_ / "outside/kept", "kept");
  }
  std::string place() const { return dir_ / "place"; }

  static archive::TarHeader member(const std::string& path, archive::TarType type = archive::TarType::kFile,
                                   const std::string& link = "") {
    archive::TarHeader header;
    header.path = path;
    header.type = type;
    header.link = link;
    header.mode = 0644;
    return header;
  }
  void unpack(std::vector<std::pair<archive::TarHeader, std::string>> members, uint64_t most = 1 << 20) {
    archive::StringSink sink;
    archive::TarWriter writer(sink);
    for (auto& [header, text] : members) {
      header.size = text.size();
      writer.add(header, text);
    }
    writer.finish();
    archive::StringSource from(sink.bytes());
    unpack_image_archive(from, place(), most);
  }

  TempDir dir_ = TempDir::for_test();
  store::Store store_{dir_ / "store"};
};

TEST_F(ImageArchiveTest, NamesAndLinksStayInThePlace) {
  unpack({{member("../../outside/kept"), "x"},
          {member("/a"), "b"},
          {member("l/layer.tar", archive::TarType::kSymlink, "../a"), ""}});
  EXPECT_EQ(read_file(dir_ / "outside/kept"), "kept");
  EXPECT_EQ(read_file(place() + "/a"), "b");
  EXPECT_EQ(read_file(place() + "/l/layer.tar"), "b");
  struct stat st;
  ASSERT_EQ(lstat((place() + "/l/layer.tar").c_str(), &st), 0);
  EXPECT_TRUE(S_ISREG(st.st_mode)) << "a copy";
  EXPECT_THROW(unpack({{member("x", archive::TarType::kSymlink, "/outside/none"), ""}}), Error);
}

TEST_F(ImageArchiveTest, CopiesOfLinksAreBounded) {
  std::vector<std::pair<archive::TarHeader, std::string>> members = {
      {member("a"), std::string(100'000, 'x')}};
  for (int i = 0; i < 20; i++)
    members.emplace_back(member("l" + std::to_string(i), archive::TarType::kHardlink, "a"), "");
  EXPECT_NO_THROW(unpack(members, 2'100'000));
  EXPECT_THROW(unpack(members, 1'000'000), Error);
}

TEST_F(ImageArchiveTest, AManifestNamesFilesOfTheArchive) {
  write_file_atomic(place() + "/c.json",
                    R"({"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}})");
  ASSERT_EQ(symlink((dir_ / "outside").c_str(), (place() + "/out").c_str()), 0);
  for (const char* config : {"c.json", "/c.json", "x/../c.json"})
    EXPECT_NO_THROW(load_docker_image({.config = config, .layers = {}, .tags = {}}, place(), store_))
        << config;
  for (const char* config : {"../outside/kept", "out/kept", "out", "", "none"}) {
    try {
      load_docker_image({.config = config, .layers = {}, .tags = {}}, place(), store_);
      ADD_FAILURE() << config;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalid) << config << ": " << error.what();
    }
  }
  std::string many = "[{}";
  for (int i = 0; i < 1000; i++) many += ",{}";
  EXPECT_THROW(parse_docker_manifest(many + "]"), Error);
}

}  // namespace corten::source
