#include "oci/manifest.h"

#include <gtest/gtest.h>

#include "oci/index.h"

namespace corten::oci {
namespace {

std::string problem(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

Manifest sample() {
  Manifest manifest;
  manifest.config = describe(kOciConfig, "config");
  manifest.layers = {describe(kOciLayerGzip, "layer"), describe(kOciLayerZstd, "other")};
  manifest.layers[1].annotations["note"] = "a<b";
  return manifest;
}

TEST(Manifest, EmitsAsGoDoes) {
  EXPECT_EQ(emit_manifest(sample()),
            fmt::format(R"({{
  "schemaVersion": 2,
  "mediaType": "application/vnd.oci.image.manifest.v1+json",
  "config": {{
    "mediaType": "application/vnd.oci.image.config.v1+json",
    "digest": "{}",
    "size": 6
  }},
  "layers": [
    {{
      "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
      "digest": "{}",
      "size": 5
    }},
    {{
      "mediaType": "application/vnd.oci.image.layer.v1.tar+zstd",
      "digest": "{}",
      "size": 5,
      "annotations": {{
        "note": "a\u003cb"
      }}
    }}
  ]
}})",
                        Digest::of("config").to_string(), Digest::of("layer").to_string(),
                        Digest::of("other").to_string()));
}

TEST(Manifest, RoundTrips) {
  Manifest manifest = sample();
  manifest.artifact_type = "application/x";
  manifest.subject = describe(kOciManifest, "subject");
  manifest.annotations["a"] = "b";
  manifest.config = empty_descriptor();
  std::string bytes = emit_manifest(manifest);
  Manifest parsed = parse_manifest(bytes, kOciManifest);
  EXPECT_EQ(parsed.config, manifest.config);
  EXPECT_EQ(parsed.layers, manifest.layers);
  EXPECT_EQ(parsed.subject, manifest.subject);
  EXPECT_EQ(parsed.annotations, manifest.annotations);
  EXPECT_EQ(parsed.artifact_type, manifest.artifact_type);
  EXPECT_EQ(parsed.raw, bytes);
  EXPECT_EQ(emit_manifest(parsed), bytes);
  EXPECT_FALSE(parsed.is_image());
  EXPECT_TRUE(sample().is_image());
}

TEST(Manifest, RefusesWhatContradictsItself) {
  std::string good = emit_manifest(sample());
  auto with = [&](std::string_view key, Json value) {
    Json json = Json::parse(good);
    json.set(key, std::move(value));
    std::string bytes = json.dump();
    return problem([&] { parse_manifest(bytes); });
  };
  EXPECT_EQ(with("annotations", Json::object()), "");
  EXPECT_EQ(with("unknown", 1), "");
  EXPECT_EQ(with("layers", nullptr), "");  // as Go writes no layers
  EXPECT_NE(with("schemaVersion", 1).find("schema 1"), std::string::npos);
  EXPECT_NE(with("schemaVersion", 3), "");
  EXPECT_NE(with("manifests", Json::array()).find("both"), std::string::npos);
  EXPECT_NE(with("mediaType", std::string(kOciIndex)), "");
  EXPECT_NE(with("config", nullptr), "");
  EXPECT_NE(with("config", "text"), "");
  EXPECT_NE(with("layers", Json::object()), "");
  EXPECT_NE(with("annotations", Json::object({{"a", 1}})), "");
  EXPECT_NE(problem([&] { parse_manifest(good, kDockerManifest); }).find("came as"), std::string::npos);
  EXPECT_NE(problem([&] { parse_manifest("[]"); }), "");
  EXPECT_NE(problem([&] { parse_manifest("{"); }), "");
  EXPECT_NE(problem([&] { parse_manifest(R"({"schemaVersion":2})"); }), "");
  EXPECT_NE(problem([&] { parse_manifest(std::string(kMaxManifestBytes + 1, ' ')); }), "");
  EXPECT_NE(problem([&] { parse_index(good); }), "");
}

TEST(Manifest, LayersAreBounded) {
  Manifest manifest = sample();
  manifest.layers.assign(kMaxLayers + 1, describe("a/b", ""));
  std::string bytes = emit_manifest(manifest);
  ASSERT_LT(bytes.size(), kMaxManifestBytes);
  EXPECT_NE(problem([&] { parse_manifest(bytes); }).find("the limit"), std::string::npos);
}

TEST(Descriptor, RefusesWrongMembers) {
  Json good = descriptor_to_json(describe("a/b", "content"));
  auto with = [&](std::string_view key, Json value) {
    Json json = good;
    json.set(key, std::move(value));
    return problem([&] { descriptor_from_json(json, "layers[3]"); });
  };
  EXPECT_EQ(with("size", 7), "");
  EXPECT_EQ(with("data", "Y29udGVudA=="), "");
  EXPECT_NE(with("data", "Y29udGVuZA=="), "");
  EXPECT_NE(with("data", "???"), "");
  EXPECT_EQ(with("size", -1).substr(0, 11), "layers[3]: ");
  for (Json size : {Json("7"), Json(1.5), Json(nullptr), Json(1e300)}) EXPECT_NE(with("size", size), "");
  for (const char* type : {"", "a", "a/", "/b", "a/b/c", "a b/c", "a/b;c=d"})
    EXPECT_NE(with("mediaType", type), "") << type;
  for (const char* digest : {"", "sha256:", "sha256:ABC", "md5:00"})
    EXPECT_NE(with("digest", digest), "") << digest;
  EXPECT_NE(with("digest", "sha512:" + std::string(128, 'a')).find("only sha256"), std::string::npos);
  EXPECT_NE(with("platform", "linux"), "");
  EXPECT_NE(with("urls", "x"), "");
}

Descriptor on(std::string_view platform, std::string_view content) {
  Descriptor descriptor = describe(kOciManifest, content);
  descriptor.platform = parse_platform(platform, {.os = "linux", .architecture = "amd64"});
  return descriptor;
}

TEST(Index, ChoosesTheBestEntry) {
  Index index;
  index.manifests = {on("linux/386", "386"), on("linux/amd64", "amd64"), on("linux/arm/v6", "v6"),
                     on("unknown/unknown", "att")};
  index.manifests[3].annotations = {{"vnd.docker.reference.type", "attestation-manifest"},
                                    {"vnd.docker.reference.digest", Digest::of("amd64").to_string()}};
  std::string bytes = emit_index(index);
  Index parsed = parse_index(bytes, kOciIndex);
  EXPECT_EQ(parsed.manifests, index.manifests);
  EXPECT_EQ(emit_index(parsed), bytes);
  auto chosen = [&](std::string_view platform) {
    const Descriptor* entry = choose_manifest(parsed, *on(platform, "").platform);
    return entry ? entry->platform->format() : "none";
  };
  EXPECT_EQ(chosen("linux/amd64"), "linux/amd64");
  EXPECT_EQ(chosen("linux/386"), "linux/386");
  EXPECT_EQ(chosen("linux/arm/v7"), "linux/arm/v6");
  EXPECT_EQ(chosen("linux/arm64"), "linux/arm/v6");
  EXPECT_EQ(chosen("linux/s390x"), "none");
  EXPECT_EQ(chosen("unknown/unknown"), "none");
  EXPECT_EQ(attestations_of(parsed, Digest::of("amd64")).size(), 1u);
  EXPECT_EQ(attestations_of(parsed, Digest::of("386")).size(), 0u);

  Index bare;
  bare.manifests = {describe(kOciManifest, "only")};
  EXPECT_EQ(choose_manifest(bare, {.os = "linux", .architecture = "amd64"}), &bare.manifests[0]);
  bare.manifests.push_back(describe(kOciManifest, "two"));
  EXPECT_EQ(choose_manifest(bare, {.os = "linux", .architecture = "amd64"}), nullptr);
  EXPECT_NE(problem([&] { parse_index(R"({"schemaVersion":2,"manifests":{}})"); }), "");
}

TEST(MediaType, Layers) {
  EXPECT_EQ(layer_compression(kDockerLayerGzip), LayerCompression::kGzip);
  EXPECT_EQ(layer_compression(kOciLayerZstd), LayerCompression::kZstd);
  EXPECT_TRUE(is_foreign_layer_type(kDockerForeignLayerGzip));
  EXPECT_FALSE(is_layer_type(kInToto));
  EXPECT_THROW(layer_compression("text/plain"), Error);
  for (auto c : {LayerCompression::kNone, LayerCompression::kGzip, LayerCompression::kZstd})
    for (bool docker : {false, true}) EXPECT_EQ(layer_compression(layer_media_type(c, docker)), c);
}

}  // namespace
}  // namespace corten::oci
