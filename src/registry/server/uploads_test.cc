#include "registry/server/uploads.h"

#include <gtest/gtest.h>

#include "base/temp_dir.h"

namespace corten::registry::serving {
namespace {

// Who asks for many of them one after the other does not use up the server's descriptors.
TEST(Uploads, FewAreOpen) {
  const TempDir directory = TempDir::for_test();
  const Tree tree(directory / "r");
  Usage usage(0);
  Uploads uploads(tree, usage);
  std::vector<std::string> ids;
  for (int i = 0; i < 700; i++) ids.push_back(uploads.begin("a", Algorithm::kSha256)->id());
  EXPECT_LE(uploads.open_count(), 512u);
  for (const std::string& id : ids) ASSERT_TRUE(uploads.find("a", id)) << id;
  EXPECT_LE(uploads.open_count(), 512u);
}

TEST(Uploads, EndOnce) {
  const TempDir directory = TempDir::for_test();
  const Tree tree(directory / "r");
  Usage usage(1000);
  Uploads uploads(tree, usage);
  const auto upload = uploads.begin("a", Algorithm::kSha256);
  ASSERT_TRUE(usage.take(5));
  EXPECT_TRUE(upload->write(upload->take_over(), "bytes"));
  uploads.drop(*upload);
  EXPECT_EQ(usage.used(), 0u);
  uploads.drop(*upload);
  EXPECT_EQ(usage.used(), 0u);
  EXPECT_FALSE(upload->write(upload->take_over(), "more")) << "nobody would give it back";
  EXPECT_FALSE(upload->seal());
  EXPECT_FALSE(uploads.find("a", upload->id()));
}

}  // namespace
}  // namespace corten::registry::serving
