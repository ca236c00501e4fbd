#include <sys/stat.h>
#include <unistd.h>

#include <set>

#include <gtest/gtest.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/subprocess.h"
#include "image/assemble.h"
#include "image/export.h"
#include "oci/layout.h"
#include "oci/manifest.h"

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
  store::Image make(const char* architecture = "amd64") {
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
    input.config.platform = {"linux", architecture, "", "", {}};
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
    write_archive({{{image}, false, {oci::Reference::parse("x:latest")}}}, options, true, store_, sink);
    outputs.push_back(sink.take());
    store_.database().execute("DELETE FROM blobs");
  }
  EXPECT_EQ(outputs[0], outputs[1]);
}

TEST_F(ImageTest, ALayoutIsReadBySkopeo) {
  store::Image image = make();
  write_layout({{image}, false, {oci::Reference::parse("x:v1")}}, {}, dir_ / "layout", store_);
  write_layout({{image}, false, {oci::Reference::parse("x:v2")}},
               {.compression = {.kind = oci::LayerCompression::kZstd, .force = true}}, dir_ / "layout",
               store_);
  SubprocessResult result = run_subprocess({"skopeo", "inspect", "oci:" + (dir_ / "layout") + ":v1"});
  EXPECT_EQ(result.exit_code, 0) << result.error_output;
  EXPECT_NE(result.output.find("amd64"), std::string::npos);
  EXPECT_EQ(run_subprocess({"skopeo", "inspect", "oci:" + (dir_ / "layout") + ":v2"}).exit_code, 0);
}

TEST_F(ImageTest, AnIndexHoldsItsImagesInOrderWithAnnotations) {
  ImageSet set{{make("arm64"), make("amd64")}, true, {oci::Reference::parse("x:v1")}};
  ExportOptions options;
  for (const char* text : {"index:a=1", "index-descriptor:b=2", "manifest[linux/arm64]:c=3",
                           "manifest-descriptor[linux/amd64]:d=4"})
    for (AnnotationRule& rule : parse_annotation_flag(text)) options.annotations.push_back(std::move(rule));
  Exported exported = make_exported(set, options, store_);
  EXPECT_EQ(exported.root.annotation("b"), "2");
  EXPECT_FALSE(exported.root.platform);
  oci::Index index = oci::parse_index(store_.read_blob(exported.root.digest, oci::kMaxManifestBytes));
  ASSERT_EQ(index.manifests.size(), 2u);
  EXPECT_EQ(index.manifests[0].platform->format(), "linux/arm64");
  EXPECT_EQ(index.annotations, (oci::Annotations{{"a", "1"}}));
  EXPECT_EQ(index.manifests[1].annotation("d"), "4");
  oci::Manifest first =
      oci::parse_manifest(store_.read_blob(index.manifests[0].digest, oci::kMaxManifestBytes));
  EXPECT_EQ(first.annotations, (oci::Annotations{{"c", "3"}}));
  // Two configs, two manifests, the index, and the layers that both have.
  EXPECT_EQ(exported.blobs.size(), 7u);
}

TEST_F(ImageTest, GzipLevelsAreDistinctAndReadable) {
  store::Image image = make();
  std::set<std::string> digests;
  for (std::optional<int> level :
       {std::optional<int>(), std::optional(0), std::optional(1), std::optional(9)}) {
    ImageSet set{{image}, false, {}};
    Exported exported =
        make_exported(set, {.compression = {.kind = oci::LayerCompression::kGzip, .level = level}}, store_);
    digests.insert(exported.root.digest.to_string());
    write_layout(set, {.compression = {.kind = oci::LayerCompression::kGzip, .level = level}}, dir_ / "l",
                 store_);
  }
  EXPECT_EQ(digests.size(), 4u);
}

TEST_F(ImageTest, PlatformsOfOneDirectoryMayNotCollide) {
  store::Image a = make("amd64"), b = make("arm64");
  write_files({{&a, "linux_amd64", "linux/amd64"}, {&b, "linux_arm64", "linux/arm64"}}, {}, dir_ / "out",
              store_);
  EXPECT_TRUE(path_exists(dir_ / "out/linux_arm64/etc/b"));
  EXPECT_THROW(write_files({{&a, "", "linux/amd64"}, {&b, "", "linux/arm64"}}, {}, dir_ / "out", store_),
               Error);
  write_file_atomic(dir_ / "out/old", "x");
  write_files({{&a, "linux_amd64", "linux/amd64"}}, {.time = 77, .delete_others = true}, dir_ / "out",
              store_);
  EXPECT_FALSE(path_exists(dir_ / "out/old"));
  EXPECT_FALSE(path_exists(dir_ / "out/linux_arm64"));
  struct stat st;
  ASSERT_EQ(lstat((dir_ / "out/linux_amd64/etc/b").c_str(), &st), 0);
  EXPECT_EQ(st.st_mtime, 77);
}

TEST_F(ImageTest, FilesBelongToTheCallerAndLinksAreNotFollowed) {
  store::Image image = make();
  make_directories_on_host(dir_ / "out/etc");
  make_directories_on_host(dir_ / "elsewhere");
  ASSERT_EQ(symlink((dir_ / "elsewhere/target").c_str(), (dir_ / "out/new").c_str()), 0);
  write_files({{&image, "", ""}}, {}, dir_ / "out", store_);
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
