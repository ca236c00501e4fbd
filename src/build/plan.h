// The graph of steps that a request needs: pure values, in an order in which inputs come first.
//
// A step is a function from root file systems (and contexts) to a root file system. It holds no path, id or
// descriptor of this machine. Metadata instructions are no steps: they are in the stage's config when the
// plan is made.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/path.h"
#include "build/request.h"
#include "dockerfile/ast.h"
#include "dockerfile/mount.h"
#include "dockerfile/values.h"
#include "oci/config.h"

namespace corten::build {

using StepId = int;
inline constexpr StepId kNoStep = -1;  // stands for the empty root file system

// Where files come from: a step's result, a context, or an image.
struct TreeRef {
  enum class Kind { kStep, kContext, kScratch } kind = Kind::kScratch;
  StepId step = kNoStep;
  std::string context;  // "" is the main context
  bool operator==(const TreeRef&) const = default;
};

struct FromStep {
  source::BaseImage image;
  bool operator==(const FromStep& other) const {
    return image.identity == other.image.identity && image.name == other.image.name;
  }
};

struct CopyStep {
  bool is_add = false;
  TreeRef from;
  std::vector<std::string> sources;        // expanded, as written; of an address without its password
  std::map<size_t, RemoteSource> remotes;  // those of the sources that are addresses
  struct File {
    std::string name, content;
    bool operator==(const File&) const = default;
  };
  std::vector<File> files;           // heredocs
  std::string destination;           // absolute; a trailing slash counts
  std::optional<std::string> owner;  // --chown, expanded
  dockerfile::ModeChange mode;
  bool has_mode = false;
  std::vector<std::string> excludes;
  bool parents = false, link = false;
  std::optional<bool> unpack;
  bool operator==(const CopyStep&) const = default;
};

struct MountUse {
  dockerfile::Mount mount;
  TreeRef from;
  std::string cache_id;     // of a cache mount, its namespace included
  std::string buildkit_id;  // as BuildKit would have it
  bool operator==(const MountUse&) const = default;
};

struct RunStep {
  std::vector<std::string> argv;
  std::vector<std::string>
      environment;  // as the step sees it, without proxies and without our SOURCE_DATE_EPOCH
  std::vector<std::string> key_environment;  // what of it is in the key (undeclared proxies are not)
  std::vector<size_t> environment_order;     // places in it, by when they were set last
  bool has_source_date_epoch = false;        // the user's own is in `environment`
  std::string user;
  RootfsPath directory;
  std::vector<MountUse> mounts;
  std::vector<CopyStep::File> scripts;  // /dev/pipes/NAME
  std::string network;                  // default, none, host
  bool insecure = false;
  std::string hostname = "buildkitsandbox";
  oci::Platform platform;  // of its programs
  bool operator==(const RunStep&) const = default;
};

struct WorkdirStep {
  RootfsPath path;
  std::string user;
  bool operator==(const WorkdirStep&) const = default;
};

struct Step {
  StepId id = 0;
  std::string name;         // for people: "[build 2/5] RUN make"
  std::string instruction;  // the instruction's text, for records
  SourceSpan span;
  StepId base = kNoStep;  // the root file system it stands on
  std::variant<FromStep, CopyStep, RunStep, WorkdirStep> work;
  int stage = 0;
  bool no_cache = false;
  std::vector<StepId> inputs() const;
};

// A stage as far as it is needed: its last step and what its image would be.
struct StagePlan {
  std::string name;  // as progress shows it
  StepId result = kNoStep;
  oci::ImageConfig config;  // without rootfs; history entries of layers have empty_layer false
  std::vector<StepId>
      layer_steps;               // of this stage and its parents, in order: the layers above the base image
  bool has_run = false;          // this stage, without its parents
  std::optional<FromStep> base;  // the image at the bottom
  std::vector<std::string> on_build;
};

// One of the images that are asked for.
struct TargetPlan {
  oci::Platform platform;
  StagePlan stage;
};

// Of all platforms that are asked for. A step that two of them would make in the same way (a native stage of
// a cross compilation, up to the ARG that tells them apart) stands in it once.
struct Plan {
  std::vector<Step> steps;          // inputs before users; ids are indexes
  std::vector<TargetPlan> targets;  // in the order of the request's platforms
  std::vector<dockerfile::Diagnostic> warnings;
  std::string check_error;  // the file asks that findings fail the build
};

// Parses and lowers. Error(kInvalid) with a span for what is wrong in the Dockerfile; Error(kUnsupported)
// names what is not executed yet. Asks `sources` only for what the target needs.
Plan make_plan(const Request& request, Sources& sources);

}  // namespace corten::build
