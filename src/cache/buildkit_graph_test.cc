// Digests of operations as BuildKit 0.32.2 wrote them into a cache.
#include "cache/buildkit_graph.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace corten::cache {
namespace {

const std::string kPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

class BuildkitGraphTest : public testing::Test {
 protected:
  std::string record(BuildkitNodeId node, size_t name = 0) const {
    return buildkit_record_digest(graph_.node(node).digests.at(name), 0).to_string();
  }
  BuildkitExec shell(const std::string& command) const {
    return {.root = base_,
            .args = {"/bin/sh", "-c", command},
            .environment = {kPath, "A=1"},
            .user = "",
            .hostname = "",
            .platform = {"linux", "amd64", "", "", {}},
            .mounts = {},
            .secrets = {}};
  }

  BuildkitGraph graph_;
  BuildkitNodeId base_ = graph_.add_nameless("base");
};

TEST_F(BuildkitGraphTest, AProcess) {
  EXPECT_EQ(record(graph_.add_exec(shell("echo hello >/hello"))),
            "sha256:33424fa05c8252e9ef837252dfea09ce705478c292028d3dc3dbbb824d6c80fd");
  BuildkitExec more = shell("echo more > more");
  more.directory = "/w";
  const BuildkitNodeId node = graph_.add_exec(more);
  EXPECT_EQ(record(node), "sha256:0dfc9abe2e1e0eeab849f0a5179c0062aa81fe0d54a8e6916f38e9dcf38fdfed");
  EXPECT_EQ(graph_.node(node).inputs.at(0).selector, Digest::of("/").to_string());
  EXPECT_FALSE(graph_.node(node).inputs.at(0).content) << "a whole root is known by its key alone";
  EXPECT_EQ(graph_.add_exec(more), node) << "the same operation is the same node";
}

TEST_F(BuildkitGraphTest, Files) {
  EXPECT_EQ(record(graph_.add_files(base_, {BuildkitMkdir{.path = "/w", .owner = {}}})),
            "sha256:f6515d8afd8f2d2ce6612a1d4492f88887feb327524d76cfd0f4c19c328711c2");
  EXPECT_EQ(record(graph_.add_files(kNoBuildkitNode, {BuildkitMkdir{.path = "/w", .owner = {}}})),
            "sha256:9585ca0fc87096d919ecf6e19cc9a6d34ab8642cd0e6355c7d7f285fe57d6f9f");
  const BuildkitNodeId copy = graph_.add_files(base_, {BuildkitCopy{.from = graph_.add_nameless(""),
                                                                    .source = "/dir",
                                                                    .destination = "/dir/",
                                                                    .owner = {},
                                                                    .mode = {},
                                                                    .symbolic_mode = ""}});
  EXPECT_EQ(record(copy), "sha256:f57d380015790d16c0c8fd74a3f263e933bf79b665f3fd28d2624be71ee6ab1e");
  const auto& inputs = graph_.node(copy).inputs;
  ASSERT_EQ(inputs.size(), 2u);
  EXPECT_EQ(inputs[0].selector, "");
  EXPECT_EQ(inputs[1].selector, "sha256:4ddc3fccc8dc257645ccac2ff3be76be315ec64619a3f290d728e59bf90e3600");
  EXPECT_EQ(inputs[1].content, (std::vector<BuildkitPath>{{"/dir", true, false}}));
}

TEST_F(BuildkitGraphTest, AnImageIsKnownByItsManifestAndByItsLayers) {
  // Of tests/conformance/bases.py, made where the busybox of this digest was.
  const auto manifest =
      Digest::parse("sha256:6a94e5e76a8330165eb2b70075f397e92398e61c43ea379e4d5b988b1926721a");
  const DiffId layer{
      Digest::parse("sha256:539882a6eaf03486e1241976ffbb11c98213c5352c9e7ada9693378a379afda8")};
  const BuildkitNodeId image = graph_.add_image({manifest}, {layer}, {"linux", "amd64", "", "", {}});
  EXPECT_EQ(record(image, 1), "sha256:6a440b8d90b003677f1ebafcd48ce267dcfcfe8ccdfcabcdcaaae5191b3234c2");
  EXPECT_EQ(record(image, 0), "sha256:99c0e441d58561f457bf8260634d09b1de5030fa2f9ed135229893b15eb05450");
  EXPECT_EQ(graph_.add_image({manifest}, {}, {}), kNoBuildkitNode) << "an image without layers is nothing";
}

TEST_F(BuildkitGraphTest, WhatCannotBeSaidIsRefused) {
  EXPECT_THROW(graph_.add_exec(shell("echo \xff")), Error);
  EXPECT_THROW(graph_.add_files(base_, {BuildkitMkdir{.path = "/w", .owner = BuildkitOwner{"-1", {}}}}),
               Error);
  BuildkitExec twice = shell("x");
  for (int i = 0; i < 2; i++)
    twice.mounts.push_back(
        {.kind = BuildkitMount::Kind::kTmpfs, .target = "/t", .selector = "", .cache_id = ""});
  EXPECT_TRUE(graph_.node(graph_.add_exec(twice)).digests.empty());
}

}  // namespace
}  // namespace corten::cache
