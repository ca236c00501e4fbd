#include "source/base_image.h"

#include <gtest/gtest.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/temp_dir.h"
#include "oci/layout.h"

namespace corten::source {

class LayoutTest : public testing::Test {
 protected:
  LayoutTest() { make_directories_on_host(dir_ / "l/blobs/sha256"); }
  oci::Descriptor put(std::string_view media_type, const std::string& bytes) {
    oci::Descriptor descriptor = oci::describe(media_type, bytes);
    write_file_atomic(dir_ / "l/" + oci::blob_path(descriptor.digest), bytes);
    return descriptor;
  }
  void finish(const oci::Descriptor& root) {
    oci::Index index;
    index.manifests = {root};
    write_file_atomic(dir_ / "l/index.json", oci::emit_index(index));
    write_file_atomic(dir_ / "l/oci-layout", oci::emit_layout_file());
  }
  oci::Descriptor image(const char* architecture) {
    oci::ImageConfig config;
    config.platform = {"linux", architecture, "", "", {}};
    oci::Manifest manifest;
    manifest.config = put(oci::kOciConfig, oci::emit_config(config));
    oci::Descriptor descriptor = put(manifest.media_type, oci::emit_manifest(manifest));
    descriptor.platform = config.platform;
    return descriptor;
  }
  TempDir dir_ = TempDir::for_test();
  store::Store store_{dir_ / "store"};
};

TEST_F(LayoutTest, AllImagesOfAnIndexAndWhatIsMissing) {
  oci::Index index;
  index.manifests = {image("arm64"), image("amd64"), oci::describe(oci::kOciManifest, "not there")};
  index.manifests[2].platform = oci::Platform{"linux", "s390x", "", "", {}};
  finish(put(index.media_type, oci::emit_index(index)));
  LayoutImages found = images_from_layout({dir_ / "l"}, "", store_);
  EXPECT_TRUE(found.is_index);
  ASSERT_EQ(found.images.size(), 2u);
  EXPECT_EQ(found.platforms[0].format(), "linux/arm64");
  EXPECT_EQ(found.missing, std::vector<std::string>{"linux/s390x"});
  oci::Platform amd64{"linux", "amd64", "", "", {}}, riscv{"linux", "riscv64", "", "", {}};
  EXPECT_EQ(image_from_layout({dir_ / "l"}, "", amd64, store_).config.platform, amd64);
  try {
    image_from_layout({dir_ / "l"}, "", riscv, store_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.hint(), "it has linux/arm64, linux/amd64, linux/s390x");
  }
}

TEST_F(LayoutTest, AnImageThatIsKeptIsTheOneThatWasRead) {
  store::Entry file;
  file.path = RootfsPath("file");
  file.size = 5;
  file.content = store_.contents().add_bytes("bytes");
  const store::Rootfs layers = {{store_.layers().save(store::Manifest({file})), 0}};
  const oci::ImageConfig config = oci::parse_config(R"({"os":"linux","architecture":"arm64"})").config;
  const Digest id = keep_image(config, layers, {"docker.io/library/kept:1"}, store_);
  EXPECT_EQ(id, Digest::of(config.raw));
  const auto found = store_.find_image("docker.io/library/kept:1", {"linux", "arm64", "", "", {}});
  ASSERT_TRUE(found);
  EXPECT_EQ(found->size, 5u);
  const BaseImage again = image_from_store(*found, "kept:1");
  EXPECT_EQ(again.identity, id);
  EXPECT_EQ(again.config.raw, config.raw);
  EXPECT_EQ(again.layers(), layers);
}

TEST_F(LayoutTest, IndexesInIndexesAreBounded) {
  oci::Descriptor inner = image("amd64");
  for (int depth = 0; depth < 3; depth++) {
    oci::Index index;
    index.manifests.assign(60, inner);
    inner = put(index.media_type, oci::emit_index(index));
  }
  finish(inner);
  EXPECT_THROW(images_from_layout({dir_ / "l"}, "", store_), Error) << "216,000 images";
  for (int depth = 0; depth < 4; depth++) {
    oci::Index index;
    index.manifests = {inner};
    inner = put(index.media_type, oci::emit_index(index));
  }
  finish(inner);
  EXPECT_THROW(images_from_layout({dir_ / "l"}, "", store_), Error) << "too deep";
}

}  // namespace corten::source
