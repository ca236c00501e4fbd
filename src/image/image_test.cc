#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/subprocess.h"
#include "image/assemble.h"
#include "image/export.h"
#include "oci/layout.h"

namespace corten::image {

class ImageTest : public testing::Test {
 protected:
  store::Entry file(std::string_view path, std::string_view text, uint32_t mode = 0644) {
    store::Entry e;
    e.path = RootfsPath(path);
    e.mode = mode;
    e.size = text.size();
    e.content = store_.contents().add_bytes(text);
    return e;
  }
  store::Image make() {
    store::Entry etc = store::default_root();
    etc.path = RootfsPath("etc");
    store::LayerRef one{
        store_.layers().save(store::Manifest({etc, file("etc/a", "one"), file("etc/b", "two", 04755)})),
        1000};
    store::Entry gone;
    gone.path = RootfsPath("etc/a");
    gone.type = store::EntryType::kWhiteout;
    store::LayerRef two{store_.layers().save(store::Manifest({gone, file("new", std::string(100'000, 'n'))})),
                        2000};
    AssembleInput input;
    input.config.platform = {"linux", "amd64", "", "", {}};
    input.layers = {one, two};
    input.created = "2001-01-01T00:00:00Z";
    input.tags = {"docker.io/library/x:latest"};
    return assemble(input, store_, 2);
  }
  TempDir dir_ = TempDir::for_test();
  store::Store store_{dir_ / "store"};
};

TEST_F(ImageTest, HistoryIsEvenedOut) {
  store::Image image = make();
  oci::ImageConfig config = oci::parse_config(image.config).config;
  EXPECT_EQ(config.diff_ids.size(), 2u);
  EXPECT_EQ(config.history.size(), 2u);
  EXPECT_EQ(config.history[1].created, "2001-01-01T00:00:00Z");
  EXPECT_EQ(image.id, Digest::of(image.config));
  EXPECT_EQ(make().id, image.id);
}

TEST_F(ImageTest, ArchivesAreTheSameWithAnyNumberOfThreads) {
  store::Image image = make();
  std::vector<std::string> outputs;
  for (unsigned threads : {1u, 4u}) {
    archive::StringSink sink;
    ExportOptions options;
    options.threads = threads;
    options.names = {oci::Reference::parse("x:latest")};
    write_archive({{image, options.names}}, options, true, store_, sink);
    outputs.push_back(sink.take());
    store_.database().execute("DELETE FROM blobs");
  }
  EXPECT_EQ(outputs[0], outputs[1]);
}

TEST_F(ImageTest, ALayoutIsReadBySkopeo) {
  store::Image image = make();
  write_layout({image, {oci::Reference::parse("x:v1")}}, {}, dir_ / "layout", store_);
  write_layout({image, {oci::Reference::parse("x:v2")}},
               {.compression = {.kind = oci::LayerCompression::kZstd, .force = true}}, dir_ / "layout",
               store_);
  SubprocessResult result = run_subprocess({"skopeo", "inspect", "oci:" + (dir_ / "layout") + ":v1"});
  EXPECT_EQ(result.exit_code, 0) << result.error_output;
  EXPECT_NE(result.output.find("amd64"), std::string::npos);
  EXPECT_EQ(run_subprocess({"skopeo", "inspect", "oci:" + (dir_ / "layout") + ":v2"}).exit_code, 0);
}

TEST_F(ImageTest, FilesBelongToTheCallerAndLinksAreNotFollowed) {
  store::Image image = make();
  make_directories_on_host(dir_ / "out/etc");
  make_directories_on_host(dir_ / "elsewhere");
  ASSERT_EQ(symlink((dir_ / "elsewhere/target").c_str(), (dir_ / "out/new").c_str()), 0);
  write_files(image, dir_ / "out", store_);
  struct stat st;
  ASSERT_EQ(lstat((dir_ / "out/etc/b").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0755u) << "set-id bits stay behind";
  EXPECT_EQ(st.st_mtime, 1000);
  EXPECT_FALSE(path_exists(dir_ / "out/etc/a"));
  EXPECT_FALSE(path_exists(dir_ / "elsewhere/target"));
  ASSERT_EQ(lstat((dir_ / "out/new").c_str(), &st), 0);
  EXPECT_TRUE(S_ISREG(st.st_mode));
}

}  // namespace corten::image
