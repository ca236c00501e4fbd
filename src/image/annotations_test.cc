#include "image/annotations.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace corten::image {

TEST(Annotations, AttributesNameLevelAndPlatform) {
  auto plain = parse_annotation_attribute("annotation.a.b", "c");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->level, AnnotationLevel::kManifest);
  EXPECT_EQ(plain->key, "a.b");
  auto scoped = parse_annotation_attribute("annotation-manifest-descriptor[linux/arm64/v8].k", "v");
  ASSERT_TRUE(scoped);
  EXPECT_EQ(scoped->level, AnnotationLevel::kManifestDescriptor);
  EXPECT_EQ(scoped->platform->format(), "linux/arm64");
  EXPECT_EQ(parse_annotation_attribute("annotation-index.x[1].y", "v")->key, "x[1].y");
  EXPECT_FALSE(parse_annotation_attribute("annotations", "v"));
  EXPECT_FALSE(parse_annotation_attribute("name", "v"));
  EXPECT_THROW(parse_annotation_attribute("annotation-manifst.k", "v"), Error);
  EXPECT_THROW(parse_annotation_attribute("annotation-index", "v"), Error);
  EXPECT_THROW(parse_annotation_attribute("annotation[no/such/thing/at/all].k", "v"), Error);
}

TEST(Annotations, TheFlagMayNameSeveralTypes) {
  auto rules = parse_annotation_flag("index,manifest[linux/amd64]:a=b:c=d");
  ASSERT_EQ(rules.size(), 2u);
  EXPECT_EQ(rules[0].level, AnnotationLevel::kIndex);
  EXPECT_EQ(rules[1].platform->format(), "linux/amd64");
  EXPECT_EQ(rules[1].key, "a");
  EXPECT_EQ(rules[1].value, "b:c=d");
  EXPECT_EQ(parse_annotation_flag("a=b").front().level, AnnotationLevel::kManifest);
  EXPECT_THROW(parse_annotation_flag("a"), Error);
  EXPECT_THROW(parse_annotation_flag("=b"), Error);
  EXPECT_THROW(parse_annotation_flag("indx:a=b"), Error);
}

TEST(Annotations, PlatformsAreObeyed) {
  std::vector<AnnotationRule> rules = parse_annotation_flag("a=1");
  for (const char* text : {"manifest[linux/arm64]:a=2", "manifest[linux/arm64]:b=3"})
    for (AnnotationRule& rule : parse_annotation_flag(text)) rules.push_back(std::move(rule));
  oci::Platform amd64{"linux", "amd64", "", "", {}}, arm64{"linux", "arm64", "", "", {}};
  EXPECT_EQ(annotations_for(rules, AnnotationLevel::kManifest, amd64), (oci::Annotations{{"a", "1"}}));
  EXPECT_EQ(annotations_for(rules, AnnotationLevel::kManifest, arm64),
            (oci::Annotations{{"a", "2"}, {"b", "3"}}));
  EXPECT_THROW(check_annotations(rules, {.platforms = {amd64}}), Error);
  EXPECT_NO_THROW(check_annotations(rules, {.platforms = {amd64, arm64}, .is_index = true}));
  EXPECT_THROW(check_annotations(parse_annotation_flag("index:a=b"), {.platforms = {amd64}}), Error);
  EXPECT_THROW(check_annotations(parse_annotation_flag("index:a=b"),
                                 {.platforms = {amd64}, .is_index = true, .docker_media_types = true}),
               Error);
}

}  // namespace corten::image
