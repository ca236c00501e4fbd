#include "cache/buildkit_records.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "cache/memory_place_test.h"
#include "oci/index.h"

namespace corten::cache {
namespace {

const std::string kA = Digest::of("a").to_string(), kB = Digest::of("b").to_string();

std::vector<oci::Descriptor> two_blobs() {
  std::vector<oci::Descriptor> blobs{oci::describe(oci::kOciLayerGzip, "a"),
                                     oci::describe(oci::kOciLayerGzip, "b")};
  blobs[1].annotations["containerd.io/uncompressed"] = Digest::of("tar of b").to_string();
  return blobs;
}

BuildkitRecords parse(const std::string& layers, const std::string& records) {
  return BuildkitRecords::parse("{\"layers\":[" + layers + "],\"records\":[" + records + "]}", two_blobs());
}

std::string record(const std::string& rest) {
  return "{\"digest\":\"" + kA + "\"" + rest + "}";
}
const std::string kLayerA = "{\"blob\":\"" + kA + "\",\"parent\":-1}", kLayerB = "{\"blob\":\"" + kB + "\"}";

TEST(BuildkitRecords, AResultIsAStackOfLayersTheLowestFirst) {
  const BuildkitRecords read = parse(kLayerA + "," + kLayerB, record(",\"layers\":[{\"layer\":1}]"));
  ASSERT_EQ(read.records().size(), 1u);
  // A parent that is left out is layer 0, as Go writes it.
  EXPECT_EQ(read.records()[0].results, (std::vector<std::vector<size_t>>{{0, 1}}));
  EXPECT_FALSE(read.layers()[0].diff_id);
  EXPECT_EQ(read.layers()[1].diff_id, DiffId{Digest::of("tar of b")});
  EXPECT_EQ(read.with(Digest::of("a")), std::vector<size_t>{0});
  EXPECT_TRUE(read.with(Digest::of("b")).empty());
}

TEST(BuildkitRecords, AChainNamesItsLayersItself) {
  const BuildkitRecords read = parse(kLayerA + "," + kLayerB, record(",\"chains\":[{\"layers\":[1,0]}]"));
  EXPECT_EQ(read.records()[0].results, (std::vector<std::vector<size_t>>{{1, 0}}));
}

TEST(BuildkitRecords, AResultWithoutItsBlobIsNone) {
  const std::string unnamed = "{\"blob\":\"" + Digest::of("nobody's").to_string() + "\",\"parent\":-1}";
  const BuildkitRecords read =
      parse(unnamed + "," + kLayerB, record(",\"layers\":[{\"layer\":1},{\"layer\":0}]"));
  EXPECT_TRUE(read.records()[0].results.empty());
}

TEST(BuildkitRecords, WhatContradictsItselfIsRefused) {
  const std::string circle = "{\"blob\":\"" + kA + "\",\"parent\":1}," + kLayerB;
  EXPECT_THROW(parse(circle, record(",\"layers\":[{\"layer\":0}]")), Error);
  EXPECT_THROW(parse("{\"blob\":\"" + kA + "\",\"parent\":7}", ""), Error);
  EXPECT_THROW(parse("{\"blob\":\"" + kA + "\",\"parent\":-2}", ""), Error);
  EXPECT_THROW(parse(kLayerA, record(",\"layers\":[{\"layer\":1}]")), Error);
  EXPECT_THROW(parse(kLayerA, record(",\"layers\":[{\"layer\":-1}]")), Error);
  EXPECT_THROW(parse(kLayerA, record(",\"chains\":[{\"layers\":[1]}]")), Error);
  EXPECT_THROW(parse("", record(",\"inputs\":[[{\"link\":1}]]")), Error);
  EXPECT_THROW(parse("", record(",\"inputs\":[[{\"selector\":1,\"link\":0}]]")), Error);
  EXPECT_THROW(parse("", record(",\"inputs\":{}")), Error);
  EXPECT_THROW(parse("", "{\"digest\":\"random:" + kA.substr(7) + "\"}"), Error);
}

// A hundred thousand results of a stack of ten thousand would be a billion places.
TEST(BuildkitRecords, ASmallTextDoesNotBecomeALargeValue) {
  std::string layers = kLayerA, results;
  for (int i = 0; i < 9'000; i++) layers += ",{\"blob\":\"" + kB + "\",\"parent\":" + std::to_string(i) + "}";
  for (int i = 0; i < 2'000; i++) results += std::string(i ? "," : "") + "{\"layer\":9000}";
  EXPECT_THROW(parse(layers, record(",\"layers\":[" + results + "]")), Error);
}

std::string data(const std::string& name) {
  return read_file("tests/buildkit/" + name, 1 << 20);
}

// The three forms in which the same cache was written.
TEST(BuildkitRecords, AreReadFromAnImageManifest) {
  MemoryPlace place;
  const Json index = Json::parse(data("built/cache/index.json"));
  const std::string manifest = data("built/cache/blobs/sha256/" +
                                    index.find("manifests")->as_array()[0].get_string("digest").substr(7));
  const oci::Descriptor config = oci::parse_manifest(manifest).config;
  place.blobs[config.digest] = data("built/cache/blobs/sha256/" + config.digest.hex());
  std::optional<std::string> image_config;
  const auto read = read_buildkit_records(place, manifest, image_config);
  ASSERT_TRUE(read);
  ASSERT_EQ(read->size(), 1u);
  EXPECT_GE(read->at(0).records().size(), 9u);
  for (const BuildkitLayer& layer : read->at(0).layers()) EXPECT_TRUE(layer.diff_id);
}

TEST(BuildkitRecords, AreReadFromAnIndex) {
  MemoryPlace place;
  const std::string manifest = data("index.json");
  const oci::Descriptor config = oci::parse_index(manifest).manifests.back();
  ASSERT_EQ(config.media_type, kBuildkitConfigType);
  place.blobs[config.digest] = data("built/cache/blobs/sha256/" + config.digest.hex());
  std::optional<std::string> image_config;
  const auto read = read_buildkit_records(place, manifest, image_config);
  ASSERT_TRUE(read);
  EXPECT_GE(read->at(0).layers().size(), 9u);
}

TEST(BuildkitRecords, AreReadFromAnImagesConfig) {
  const oci::Manifest manifest = oci::parse_manifest(data("inline-manifest.json"));
  const auto read = BuildkitRecords::parse_inline(manifest, data("inline-config.json"));
  ASSERT_TRUE(read);
  size_t results = 0;
  for (const BuildkitRecord& record : read->records()) {
    results += record.results.size();
    for (const auto& stack : record.results) EXPECT_LE(stack.size(), manifest.layers.size());
  }
  EXPECT_GE(results, 4u);
}

// An image without such a cache, or an artifact of another kind, is somebody else's business.
TEST(BuildkitRecords, OtherImagesAreLeftToOthers) {
  MemoryPlace place;
  Json config = Json::parse(data("inline-config.json"));
  config.erase(kBuildkitInlineMember);
  const std::string bytes = config.dump();
  oci::Manifest manifest = oci::parse_manifest(data("inline-manifest.json"));
  manifest.config = oci::describe(oci::kOciConfig, bytes);
  place.blobs[manifest.config.digest] = bytes;
  std::optional<std::string> image_config;
  EXPECT_FALSE(read_buildkit_records(place, oci::emit_manifest(manifest), image_config));
  EXPECT_EQ(image_config, bytes);
  manifest.config.media_type = "application/vnd.example";
  EXPECT_FALSE(read_buildkit_records(place, oci::emit_manifest(manifest), image_config));
}

}  // namespace
}  // namespace corten::cache
