#include "oci/layout.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace corten::oci {
namespace {

Descriptor named(std::string_view content, std::string image, std::string tag) {
  Descriptor descriptor = describe(kOciManifest, content);
  if (!image.empty()) descriptor.annotations[std::string(kImageNameAnnotation)] = image;
  if (!tag.empty()) descriptor.annotations[std::string(kRefNameAnnotation)] = tag;
  return descriptor;
}

TEST(Layout, VersionFile) {
  check_layout_file(emit_layout_file());
  check_layout_file("{\"imageLayoutVersion\": \"1.1.0\"}\n");
  EXPECT_THROW(check_layout_file("{}"), Error);
  EXPECT_THROW(check_layout_file(R"({"imageLayoutVersion":"2.0.0"})"), Error);
  EXPECT_THROW(check_layout_file("not json"), Error);
  EXPECT_EQ(blob_path(Digest::of("")),
            "blobs/sha256/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Layout, FindsByAnyName) {
  Index index;
  put_in_layout(index, named("a", "docker.io/library/a:1", "1"));
  EXPECT_EQ(find_in_layout(index, "").digest, Digest::of("a"));
  put_in_layout(index, named("b", "docker.io/library/b:1", "1"));
  put_in_layout(index, named("c", "", "v2"));
  EXPECT_EQ(find_in_layout(index, "docker.io/library/b:1").digest, Digest::of("b"));
  EXPECT_EQ(find_in_layout(index, "v2").digest, Digest::of("c"));
  EXPECT_EQ(find_in_layout(index, Digest::of("a").to_string()).digest, Digest::of("a"));
  auto code = [&](std::string_view name) {
    try {
      find_in_layout(index, name);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kInternal;
  };
  EXPECT_EQ(code("1"), ErrorCode::kInvalid);  // stands for two
  EXPECT_EQ(code(""), ErrorCode::kNotFound);
  EXPECT_EQ(code("v3"), ErrorCode::kNotFound);
  put_in_layout(index, named("d", "", "latest"));
  EXPECT_EQ(find_in_layout(index, "").digest, Digest::of("d"));
}

TEST(Layout, PuttingReplacesTheSameName) {
  Index index;
  put_in_layout(index, named("a", "x.io/a:1", "1"));
  put_in_layout(index, named("b", "x.io/b:1", "1"));
  put_in_layout(index, named("c", "x.io/a:1", "1"));
  ASSERT_EQ(index.manifests.size(), 2u);
  EXPECT_EQ(find_in_layout(index, "x.io/a:1").digest, Digest::of("c"));
  put_in_layout(index, named("d", "", "1"));
  put_in_layout(index, named("e", "", "1"));
  EXPECT_EQ(index.manifests.size(), 3u);
  put_in_layout(index, named("f", "", ""));
  put_in_layout(index, named("f", "", ""));
  EXPECT_EQ(index.manifests.size(), 4u);
  put_in_layout(index, named("f", "", "named"));  // the nameless one is this one
  EXPECT_EQ(index.manifests.size(), 4u);
}

}  // namespace
}  // namespace corten::oci
