#include "cache/buildkit_plan.h"

#include <algorithm>

#include "base/error.h"
#include "base/path.h"
#include "base/strings.h"
#include "build/run_mounts.h"

namespace corten::cache {

using build::CopyStep;
using build::MountUse;
using build::RunStep;
using build::Step;
using build::TreeRef;
using build::WorkdirStep;
using dockerfile::MountType;

namespace {

constexpr std::string_view kUsualHostname = "buildkitsandbox";
constexpr uint64_t kUsualSharedMemory = 64 << 20;

// A step that cannot be said as BuildKit says it.
[[noreturn]] void unknown() {
  fail(ErrorCode::kUnsupported, "BuildKit's operation for this is not known");
}

// "user[:group]"
BuildkitOwner owner_of(const std::string& text) {
  const size_t colon = text.find(':');
  BuildkitOwner owner{.user = text.substr(0, colon), .group = {}};
  if (colon != std::string::npos) owner.group = text.substr(colon + 1);
  return owner;
}

class Translation {
 public:
  Translation(const build::Plan& plan, const build::Request& request) : plan_(plan), request_(request) {}

  BuildkitPlan run() {
    result_.steps.resize(plan_.steps.size());
    for (const Step& step : plan_.steps) {
      BuildkitPlan::Operations& made = result_.steps[static_cast<size_t>(step.id)];
      try {
        if (step.no_cache || request_.source_date_epoch) unknown();
        made = translate(step);
      } catch (const Error&) {
        made = {graph().add_unknown(), kNoBuildkitNode};
      }
      if (made.result != kNoBuildkitNode)
        result_.files.try_emplace(made.result, TreeRef{TreeRef::Kind::kStep, step.id, ""});
    }
    return std::move(result_);
  }

 private:
  BuildkitGraph& graph() { return result_.graph; }

  BuildkitNodeId node_of(build::StepId step) const {
    return step == build::kNoStep ? kNoBuildkitNode : result_.steps[static_cast<size_t>(step)].result;
  }

  BuildkitNodeId node_of(const TreeRef& ref) {
    if (ref.kind == TreeRef::Kind::kStep) return node_of(ref.step);
    if (ref.kind == TreeRef::Kind::kScratch) return kNoBuildkitNode;
    const BuildkitNodeId node = graph().add_nameless(ref.context);
    result_.files.try_emplace(node, ref);
    return node;
  }

  BuildkitPlan::Operations translate(const Step& step) {
    if (const auto* from = std::get_if<build::FromStep>(&step.work)) {
      const oci::ImageConfig& config = from->image.config;
      return {graph().add_image(from->image.manifests, config.diff_ids, config.platform.normalized()),
              kNoBuildkitNode};
    }
    if (const auto* run = std::get_if<RunStep>(&step.work)) return {exec(step, *run), kNoBuildkitNode};
    if (const auto* copy = std::get_if<CopyStep>(&step.work)) return files(step, *copy);
    return {workdir(step, std::get<WorkdirStep>(step.work)), kNoBuildkitNode};
  }

  BuildkitNodeId workdir(const Step& step, const WorkdirStep& workdir) {
    BuildkitMkdir mkdir{.path = workdir.path.absolute(), .owner = {}};
    if (!workdir.user.empty()) mkdir.owner = owner_of(workdir.user);
    return graph().add_files(node_of(step.base), {mkdir});
  }

  BuildkitPlan::Operations files(const Step& step, const CopyStep& copy) {
    // A context as a base is a step of ours and none of BuildKit's.
    if (step.instruction.starts_with("FROM ")) unknown();
    if (!copy.remotes.empty()) unknown();
    BuildkitCopy usual{
        .source = "", .destination = copy.destination, .owner = {}, .mode = {}, .symbolic_mode = ""};
    if (copy.owner) usual.owner = owner_of(*copy.owner);
    if (copy.has_mode) {
      usual.mode = copy.mode.octal();
      if (!usual.mode) usual.symbolic_mode = copy.mode.text();
    }
    std::vector<BuildkitAction> actions;
    for (const std::string& source : copy.sources) {
      BuildkitCopy action = usual;
      action.from = node_of(copy.from);
      action.excludes = copy.excludes;
      set_source(action, source, copy.parents);
      action.unpacks = copy.unpack.value_or(copy.is_add);
      actions.emplace_back(std::move(action));
    }
    for (const CopyStep::File& file : copy.files) {
      BuildkitCopy action = usual;
      action.source = clean_path("/" + file.name);
      action.from = graph().add_files(
          kNoBuildkitNode, {BuildkitMkfile{.path = action.source, .content = file.content, .mode = 0644}});
      action.is_plain = true;
      action.excludes = copy.excludes;
      actions.emplace_back(std::move(action));
    }
    const BuildkitNodeId base = node_of(step.base);
    if (!copy.link || copy.has_mode) return {graph().add_files(base, actions), kNoBuildkitNode};
    const BuildkitNodeId link = graph().add_files(kNoBuildkitNode, actions);
    return {graph().add_merge(base, link), link};
  }

  // With --parents the part before the pivot "/./" is what is read, and the rest a pattern in it.
  static void set_source(BuildkitCopy& action, const std::string& source, bool is_with_parents) {
    if (!is_with_parents) {
      action.source = clean_path("/" + source);
      return;
    }
    const size_t pivot = source.find("/./");
    const std::string parent = pivot == std::string::npos ? "/" : source.substr(0, pivot);
    const std::string pattern = pivot == std::string::npos ? source : source.substr(pivot + 3);
    const std::string normal = pattern.starts_with('/') ? pattern : clean_path("/" + pattern);
    action.source = clean_path("/" + parent);
    action.includes = {normal.substr(normal.starts_with('/') ? 1 : 0)};
    if (!is_buildkit_pattern(parent) && !is_buildkit_pattern(normal)) {
      const std::string path = clean_path(parent.empty() ? normal : parent + "/" + normal);
      action.required = {path.starts_with('/') ? path : clean_path("/" + path)};
    }
  }

  BuildkitNodeId exec(const Step& step, const RunStep& run) {
    if (!request_.extra_hosts.empty() || !request_.ulimits.empty() ||
        request_.shm_bytes != kUsualSharedMemory)
      unknown();
    BuildkitExec exec;
    exec.root = node_of(step.base);
    exec.args = run.argv;
    for (const size_t place : run.environment_order) exec.environment.push_back(run.key_environment[place]);
    exec.directory = run.directory.absolute();
    exec.user = run.user;
    if (run.hostname != kUsualHostname) exec.hostname = run.hostname;
    exec.network = run.network == "host" ? 1 : run.network == "none" ? 2 : 0;
    exec.is_insecure = run.insecure;
    exec.platform = run.platform.normalized();
    for (const CopyStep::File& script : run.scripts) {
      const BuildkitNodeId file = graph().add_files(
          kNoBuildkitNode,
          {BuildkitMkfile{.path = "/" + script.name, .content = script.content, .mode = 0755}});
      exec.mounts.push_back(
          {.node = file, .target = "/dev/pipes/", .selector = "/", .is_read_only = true, .cache_id = ""});
    }
    for (const MountUse& use : run.mounts) {
      if (use.mount.type == MountType::kSsh) unknown();
      if (use.mount.type == MountType::kSecret)
        exec.secrets.push_back(secret(use));
      else
        exec.mounts.push_back(mount(use));
    }
    return graph().add_exec(exec);
  }

  BuildkitMount mount(const MountUse& use) {
    const dockerfile::Mount& m = use.mount;
    BuildkitMount mount{.target = m.target, .selector = "", .is_read_only = m.read_only, .cache_id = ""};
    const std::string source = RootfsPath(m.source).absolute();
    if (m.type == MountType::kTmpfs) {
      if (source != "/" || m.uid || m.gid || m.mode) unknown();
      mount.kind = BuildkitMount::Kind::kTmpfs;
      mount.size = m.size_bytes;
      return mount;
    }
    mount.node = node_of(use.from);
    if (source != "/") mount.selector = source;
    if (m.type != MountType::kCache) {
      if (m.uid || m.gid || m.mode) unknown();
      return mount;
    }
    mount.kind = BuildkitMount::Kind::kCache;
    mount.cache_id = use.buildkit_id;
    mount.sharing = m.sharing == dockerfile::CacheSharing::kPrivate  ? 1
                    : m.sharing == dockerfile::CacheSharing::kLocked ? 2
                                                                     : 0;
    if (source == "/" && (m.uid || m.gid || m.mode)) {
      const BuildkitMkdir directory{.path = "/cache",
                                    .mode = m.mode.value_or(0755) & 0777,
                                    .makes_parents = false,
                                    .owner = BuildkitOwner{.user = std::to_string(m.uid.value_or(0)),
                                                           .group = std::to_string(m.gid.value_or(0))}};
      mount.node = graph().add_files(mount.node, {directory});
      mount.selector = "/cache";
    }
    return mount;
  }

  BuildkitSecret secret(const MountUse& use) {
    const dockerfile::Mount& m = use.mount;
    BuildkitSecret secret{.id = build::secret_id(m), .target = {}, .variable = m.env};
    if (!m.target.empty())
      secret.target = m.target;
    else if (!m.env)
      secret.target = "/run/secrets/" + secret.id.substr(secret.id.rfind('/') + 1);
    secret.uid = m.uid.value_or(0);
    secret.gid = m.gid.value_or(0);
    secret.mode = m.mode.value_or(0400);
    secret.is_optional = !m.required;
    return secret;
  }

  const build::Plan& plan_;
  const build::Request& request_;
  BuildkitPlan result_;
};

}  // namespace

BuildkitPlan buildkit_plan(const build::Plan& plan, const build::Request& request) {
  return Translation(plan, request).run();
}

}  // namespace corten::cache
