// Steps of conformance cases in what BuildKit's caches say of them (tests/buildkit/records): digests that a
// real BuildKit made, against those that we make of the same Dockerfiles and contexts.
#include "cache/buildkit_plan.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/error.h"
#include "base/json.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "cache/buildkit_match.h"
#include "source/local_context.h"
#include "store/store.h"

namespace corten::cache {
namespace {

namespace fs = std::filesystem;

constexpr const char* kData = "tests/buildkit";
constexpr size_t kMaxFile = 8 << 20;

std::string read_text(const std::string& path) {
  return read_file(path, kMaxFile);
}

// The modes that git knows, whatever the umask of the checkout was.
void copy_context(const std::string& from, const std::string& to) {
  fs::copy(from, to, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
  chmod(to.c_str(), 0755);
  for (const auto& entry : fs::recursive_directory_iterator(to)) {
    if (entry.is_symlink()) continue;
    struct stat st = {};
    stat(entry.path().c_str(), &st);
    chmod(entry.path().c_str(), entry.is_directory() || (st.st_mode & 0100) ? 0755 : 0644);
  }
}

class CaseSources : public build::Sources {
 public:
  CaseSources(const Json& bases, std::shared_ptr<const store::Tree> context)
      : bases_(bases), context_(std::move(context)) {}
  std::shared_ptr<const store::Tree> main_context() override { return context_; }
  std::shared_ptr<const store::Tree> named_tree(const std::string&) override { return nullptr; }
  bool has_named(const std::string& name) override { return bases_.find(name); }
  build::RemoteTree remote(const build::RemoteSource&, const build::FetchWatch&) override { return {}; }
  std::optional<source::BaseImage> named_image(const std::string& name, const oci::Platform&) override {
    const Json* base = bases_.find(name);
    if (!base) return std::nullopt;
    source::BaseImage image;
    image.name = name;
    image.manifests = {Digest::parse(base->get_string("manifest"))};
    image.config = oci::parse_config(base->find("config")->dump()).config;
    return image;
  }
  source::BaseImage image(const std::string& reference, const oci::Platform& platform) override {
    auto image = named_image(reference, platform);
    if (!image) fail(ErrorCode::kNotFound, "{}", reference);
    return *image;
  }

 private:
  const Json& bases_;
  std::shared_ptr<const store::Tree> context_;
};

// One case: which of its steps are found, in the order of the plan.
class Case {
 public:
  Case(const std::string& context, const Json& spec, BuildkitRecords records)
      : records_(std::move(records)),
        bases_(Json::parse(read_text(std::string(kData) + "/records/bases.json"))) {
    copy_context(context, dir_ / "context");
    for (const auto& [name, value] : spec.find("args") ? spec.find("args")->as_object() : Json::Object())
      request_.build_args[name] = value.as_string();
    request_.network = spec.get_string("network", "default");
    request_.target = spec.get_string("target");
    request_.dockerfile_name = "Dockerfile";
    request_.build_platform = {"linux", "amd64", "", "", {}};
    request_.platforms = {request_.build_platform};
  }
  build::Request& request() { return request_; }
  std::string path(const std::string& name) const { return dir_ / ("context/" + name); }

  // Names of the steps that were not found.
  std::vector<std::string> misses(uint64_t max_looks = BuildkitMatcher::kMaxLooks) {
    auto context = std::make_shared<source::LocalContext>(HostPath{dir_ / "context"},
                                                          source::LocalContextOptions{}, store_.contents());
    CaseSources sources(bases_, context);
    request_.dockerfile = read_text(path("Dockerfile"));
    const build::Plan plan = build::make_plan(request_, sources);
    const BuildkitPlan buildkit = buildkit_plan(plan, request_);
    BuildkitMatcher matcher(
        buildkit.graph, records_,
        [&](BuildkitNodeId node, const std::vector<BuildkitPath>& paths) {
          auto files = buildkit.files.find(node);
          if (files == buildkit.files.end() || files->second.kind != build::TreeRef::Kind::kContext)
            return std::optional<Digest>();  // no layer of a stage is here
          return buildkit_content_digest({context, true}, paths, store_.contents());
        },
        max_looks);
    std::vector<std::string> missed;
    std::vector<std::vector<std::optional<DiffId>>> stacks;
    for (const build::Step& step : plan.steps) {
      auto& stack = stacks.emplace_back();
      if (const auto* from = std::get_if<build::FromStep>(&step.work)) {
        stack.assign(from->image.config.diff_ids.begin(), from->image.config.diff_ids.end());
        continue;
      }
      if (step.base != build::kNoStep) stack = stacks[static_cast<size_t>(step.base)];
      const auto& operations = buildkit.steps[static_cast<size_t>(step.id)];
      const BuildkitLayer* layer = matcher.find(operations.result, stack);
      if (!layer) missed.push_back(step.instruction);
      stack.push_back(layer ? layer->diff_id : std::nullopt);
    }
    steps_ = plan.steps.size();
    return missed;
  }
  size_t steps() const { return steps_; }

 private:
  TempDir dir_ = TempDir::for_test();
  store::Store store_{dir_ / "store"};
  const BuildkitRecords records_;
  const Json bases_;
  build::Request request_;
  size_t steps_ = 0;
};

BuildkitRecords records_of(const Json& recorded) {
  const oci::Manifest manifest = oci::parse_manifest(recorded.find("manifest")->dump());
  return BuildkitRecords::parse(recorded.find("cache")->dump(), manifest.layers);
}

std::string built_cache(const std::string& digest) {
  return read_text(std::string(kData) + "/built/cache/blobs/sha256/" + digest.substr(7));
}

// The cache that lies beside its context, with layers.
BuildkitRecords built_records() {
  const Json index = Json::parse(read_text(std::string(kData) + "/built/cache/index.json"));
  const oci::Manifest manifest =
      oci::parse_manifest(built_cache(index.find("manifests")->as_array()[0].get_string("digest")));
  return BuildkitRecords::parse(built_cache(manifest.config.digest.to_string()), manifest.layers);
}

TEST(BuildkitPlan, EveryStepOfTheRecordedCasesIsFound) {
  size_t cases = 0, steps = 0;
  for (const auto& entry : fs::directory_iterator(std::string(kData) + "/records")) {
    std::string name = entry.path().stem();
    if (entry.path().extension() != ".json" || name == "bases") continue;
    SCOPED_TRACE(name);
    name.replace(name.find("--"), 2, "/");
    const std::string directory = "tests/conformance/cases/" + name;
    const Json spec = fs::exists(directory + "/case.json") ? Json::parse(read_text(directory + "/case.json"))
                                                           : Json::object();
    Case one(directory + "/context", spec, records_of(Json::parse(read_text(entry.path()))));
    EXPECT_EQ(one.misses(), std::vector<std::string>());
    cases++;
    steps += one.steps();
  }
  EXPECT_GE(cases, 30u);
  EXPECT_GE(steps, 100u);
}

class BuiltCase : public testing::Test {
 protected:
  std::vector<std::string> misses_when(const std::string& file, const std::string& from,
                                       const std::string& to) {
    std::string text = read_text(built_.path(file));
    const size_t at = text.find(from);
    if (at == std::string::npos) fail(ErrorCode::kInternal, "{} is not in {}", from, file);
    write_file_atomic(built_.path(file), text.replace(at, from.size(), to));
    return built_.misses();
  }
  Case built_{std::string(kData) + "/built/context", Json::object(), built_records()};
};

TEST_F(BuiltCase, IsFoundAsItIs) {
  EXPECT_EQ(built_.misses(), std::vector<std::string>());
}

TEST_F(BuiltCase, IsNotSearchedForever) {
  EXPECT_THROW(built_.misses(20), Error);
  EXPECT_EQ(built_.misses(1000), std::vector<std::string>());
}

// What a step reads is a part of its key, and of the keys of all that stand on it; of nobody else's.
TEST_F(BuiltCase, AChangedFileIsAMissFromWhereItIsCopied) {
  EXPECT_EQ(misses_when("files/one.txt", "one", "eno").size(), 3u);
}
TEST_F(BuiltCase, AChangedVariableIsAMissForRuns) {
  EXPECT_EQ(misses_when("Dockerfile", "A=1", "A=2").size(), 6u);
}
TEST_F(BuiltCase, AChangedCommandIsAMiss) {
  EXPECT_EQ(misses_when("Dockerfile", "\"/m/tool\"", "\"/m/tool\",\"\"").size(), 1u);
}
TEST_F(BuiltCase, AnotherModeIsAMiss) {
  EXPECT_EQ(misses_when("Dockerfile", "--chmod=705", "--chmod=644").size(), 2u);
}
TEST_F(BuiltCase, AnotherOwnerIsAMiss) {
  EXPECT_EQ(misses_when("Dockerfile", "--chown=7:8", "--chown=7:9").size(), 3u);
}
TEST_F(BuiltCase, AnotherArgumentIsAMiss) {
  built_.request().build_args["WHO"] = "somebody";
  EXPECT_EQ(built_.misses().size(), 6u);
}
// Where a cache is found decides nothing but its being there; where a tmpfs lies does.
TEST_F(BuiltCase, AnotherMountIsAMiss) {
  EXPECT_EQ(misses_when("Dockerfile", "target=/t ", "target=/u ").size(), 5u);
}
TEST_F(BuiltCase, WhatIsSaidForTheWholeBuildIsAMiss) {
  built_.request().extra_hosts = {{"a", "127.0.0.1"}};
  EXPECT_EQ(built_.misses().size(), 6u);
}
TEST_F(BuiltCase, WithATimeForAllNothingIsFound) {
  built_.request().source_date_epoch = 0;
  EXPECT_EQ(built_.misses().size(), 9u);
}

}  // namespace
}  // namespace corten::cache
