// One plan over several platforms.
#include <gtest/gtest.h>

#include "base/error.h"
#include "build/plan.h"

namespace corten::build {

namespace {

class NoSources : public Sources {
 public:
  std::shared_ptr<const store::Tree> main_context() override { return std::make_shared<store::EmptyTree>(); }
  std::shared_ptr<const store::Tree> named_tree(const std::string&) override { return nullptr; }
  std::optional<source::BaseImage> named_image(const std::string&, const oci::Platform&) override {
    return std::nullopt;
  }
  RemoteTree remote(const RemoteSource&, const FetchWatch&) override { return {}; }
  bool has_named(const std::string&) override { return false; }
  // For every platform another image.
  source::BaseImage image(const std::string& reference, const oci::Platform& platform) override {
    source::BaseImage image;
    image.name = reference;
    image.identity = Digest::of(platform.format());
    image.config.platform = platform;
    return image;
  }
};

const oci::Platform kAmd64{"linux", "amd64", "", "", {}}, kArm64{"linux", "arm64", "", "", {}};

Request request_for(std::string text) {
  Request request;
  request.dockerfile = std::move(text);
  request.dockerfile_name = "Dockerfile";
  request.build_platform = kAmd64;
  request.platforms = {kAmd64, kArm64};
  request.platform_given = request.is_index = true;
  return request;
}

}  // namespace

TEST(Platforms, NativeStagesAreShared) {
  NoSources sources;
  Plan plan = make_plan(request_for("FROM --platform=$BUILDPLATFORM base AS build\nRUN one\nRUN two\n"
                                    "ARG TARGETARCH\nRUN three\nFROM scratch\nCOPY --from=build /x /\n"),
                        sources);
  ASSERT_EQ(plan.targets.size(), 2u);
  EXPECT_EQ(plan.targets[1].platform, kArm64);
  EXPECT_EQ(plan.targets[1].stage.config.platform, kArm64);
  // FROM, one and two once; three and the COPY for each platform.
  EXPECT_EQ(plan.steps.size(), 3u + 2 + 2);
  for (const Step& step : plan.steps)
    for (StepId input : step.inputs()) EXPECT_LT(input, step.id);
}

TEST(Platforms, ForeignStagesAreNot) {
  NoSources sources;
  Request request = request_for("FROM base\nRUN one\n");
  request.why_not_run = [](const oci::Platform&) { return ""; };
  EXPECT_EQ(make_plan(request, sources).steps.size(), 4u);
}

TEST(Platforms, ForeignRunsAreRefusedWithTheirPlace) {
  NoSources sources;
  Request request = request_for("FROM base AS here\n\nRUN one\n");
  request.why_not_run = [](const oci::Platform& platform) { return "no " + platform.architecture; };
  try {
    make_plan(request, sources);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    ASSERT_TRUE(error.span());
    EXPECT_EQ(error.span()->line, 3);
    EXPECT_NE(std::string(error.what()).find("stage here, RUN for linux/arm64"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("no arm64"), std::string::npos);
  }
  request.platforms = {{"darwin", "amd64", "", "", {}}};
  EXPECT_THROW(make_plan(request, sources), Error) << "the same processor, another system";
}

}  // namespace corten::build
