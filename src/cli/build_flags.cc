#include "cli/build_flags.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>

#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/suggest.h"
#include "cli/flags.h"
#include "cli/session.h"

namespace corten::cli {

namespace {

// Flags that docker buildx has and that mean nothing here, or not yet.
struct OtherFlags {
  std::string builder;
  std::string pull;
  bool push = false, squash = false, silent = false;
  std::vector<std::string> immutable, provenance, sbom, attest, cache_from, cache_to, allow, ignored, policy;

  void add_to(CLI::App& app) {
    app.add_option("--allow", allow, "network.host (which RUN has anyway), security.insecure")
        ->allow_extra_args(false);
    app.add_option("--builder", builder, "taken for scripts: there is one builder");
    app.add_flag(
        "--pull{always}", pull,
        "always: ask the registry for base images; never: only those of the store; default: missing");
    app.add_flag("--push", push, "push the image to the registry of its names (-o type=registry)");
    app.add_option("--immutable", immutable, "with --push: PATTERN of tags that must not move (sha-*)")
        ->allow_extra_args(false);
    app.add_flag("--rm,--force-rm,--compress,-D,--debug", silent, "")->group("");
    app.add_option("--cache-from", cache_from,
                   "take steps from there: REF, or type=registry|local|s3[,KEY=VALUE...]; may be repeated")
        ->allow_extra_args(false);
    app.add_option("--cache-to", cache_to,
                   "and keep them there: REF, or type=registry|local|inline|s3[,mode=max][,mounts=true]...")
        ->allow_extra_args(false);
    app.add_flag("--squash", squash, "")->group("");
    auto hidden = [&](const char* names, std::vector<std::string>& values) {
      app.add_option(names, values, "")->group("")->allow_extra_args(false);
    };
    hidden("--provenance", provenance);
    hidden("--sbom", sbom);
    hidden("--attest", attest);
    hidden("--isolation,--security-opt", ignored);
    hidden("--policy", policy);
  }

  void check() const {
    auto refuse = [](bool given, const char* flag, const char* what) {
      if (given)
        throw Error(ErrorCode::kUnsupported, fmt::format("{} is not executed yet", flag)).with_hint(what);
    };
    auto wants = [](const std::vector<std::string>& values) {
      return std::any_of(values.begin(), values.end(),
                         [](const std::string& v) { return !v.empty() && v != "false"; });
    };
    refuse(wants(sbom), "--sbom", "build without it");
    refuse(!attest.empty(), "--attest", "build without it");
    refuse(wants(provenance), "--provenance", "pass --provenance=false");
    refuse(!policy.empty(), "--policy", "build without it");
    for (const std::string& entitlement : allow)
      if (entitlement != "network.host" && entitlement != "security.insecure")
        fail(ErrorCode::kUsage, "--allow {}: it is one of network.host, security.insecure",
             quote(entitlement));
    if (squash) print_warning("--squash is not used, as with buildx: COPY --from=STAGE / / makes one layer");
    if (!ignored.empty()) print_warning("--isolation and --security-opt are not used, as with buildx");
  }

  Pull pull_policy() const {
    if (pull == "always" || pull == "true") return Pull::kAlways;
    if (pull == "never") return Pull::kNever;
    if (pull.empty() || pull == "missing" || pull == "false") return Pull::kMissing;
    fail(ErrorCode::kUsage, "--pull={}: it is always, missing or never", quote(pull));
  }

  // --push makes the outputs that are images go to their registry, or is one.
  void add_push(std::vector<OutputSpec>& outputs) const {
    if (!push) return;
    bool is_added = false;
    for (OutputSpec& output : outputs)
      if (output.type == "image") is_added = output.is_pushed = true;
    if (!is_added) outputs.push_back(parse_output("type=registry"));
  }

  static std::vector<cache::Spec> caches(const std::vector<std::string>& texts,
                                         cache::ParsedSpec (*parse)(std::string_view,
                                                                    const cache::Variables&)) {
    std::vector<cache::Spec> specs;
    for (const std::string& text : texts) {
      if (text.empty()) continue;
      cache::ParsedSpec parsed = parse(text, [](const std::string& name) {
        const char* value = getenv(name.c_str());
        return std::string(value ? value : "");
      });
      for (const std::string& remark : parsed.remarks) print_warning(remark);
      if (parsed.spec) specs.push_back(std::move(*parsed.spec));
    }
    return specs;
  }

  bool allows_insecure() const {
    return std::find(allow.begin(), allow.end(), "security.insecure") != allow.end();
  }
};

// What bounds RUN steps: --resource, its keys as flags of their own (docker build's), and a step's time.
struct LimitFlags {
  std::vector<std::string> resources;
  std::map<std::string, std::string> single;
  std::string cgroup_parent, step_timeout;

  void add_to(CLI::App& app) {
    app.add_option("--resource", resources,
                   "KEY=VALUE[,...] for RUN steps: memory, memory-swap, cpu-shares, cpu-period, cpu-quota, "
                   "cpuset-cpus, cpuset-mems")
        ->allow_extra_args(false);
    app.add_option("--cgroup-parent", cgroup_parent, "control group below which RUN steps run");
    app.add_option("--step-timeout", step_timeout, "the longest that a RUN step may take: 90s, 10m");
    for (const char* names : {"-m,--memory", "--memory-swap", "-c,--cpu-shares", "--cpu-period",
                              "--cpu-quota", "--cpuset-cpus", "--cpuset-mems"}) {
      std::string key = std::string(names).substr(std::string_view(names).find("--") + 2);
      app.add_option(names, single[key], "")->group("");
    }
  }

  void read(BuildFlags& flags) const {
    for (const auto& [key, value] : single)
      if (!value.empty() && value != "0")
        sandbox::parse_resource(fmt::format("{}={}", key, value), flags.limits);
    for (const std::string& text : resources)
      if (!text.empty()) sandbox::parse_resource(text, flags.limits);
    flags.limits.cgroup_parent = cgroup_parent;
    if (step_timeout.empty()) return;
    auto duration = parse_duration(step_timeout);
    if (!duration || *duration <= 0)
      fail(ErrorCode::kUsage, "invalid --step-timeout {}: it is a time, as 90s or 10m", quote(step_timeout));
    flags.step_timeout_ns = *duration;
  }
};

}  // namespace

BuildFlags parse_build_flags(const Arguments& arguments, const std::string& command_name) {
  BuildFlags flags;
  CLI::App app("Build an image from a Dockerfile.", command_name);
  std::vector<std::string> outputs, annotations;
  std::string call;
  bool is_check = false;
  app.add_option("context", flags.context,
                 "directory, git repository (URL#REF:DIR), URL of an archive or a Dockerfile, or - for "
                 "standard input")
      ->required();
  app.add_option("-f,--file", flags.file,
                 "the Dockerfile (default: Dockerfile in the context; -: standard input)");
  app.add_option("-t,--tag", flags.tags, "name of the image, NAME[:TAG]; may be repeated")
      ->allow_extra_args(false);
  app.add_option("--on", flags.on, "build there and push: acr:REGISTRY (Azure)");
  app.add_option("--target", flags.target, "stage to build (default: the last)");
  app.add_option("--build-arg", flags.build_args, "NAME=VALUE, or NAME to take it from the environment")
      ->allow_extra_args(false);
  app.add_option("--build-context", flags.build_contexts,
                 "NAME=DIR, NAME=URL, NAME=oci-layout://DIR[:TAG], NAME=docker-image://REF")
      ->allow_extra_args(false);
  app.add_option("--label", flags.labels, "NAME=VALUE")->allow_extra_args(false);
  app.add_option("--secret", flags.secrets, "id=NAME[,src=FILE|,env=VARIABLE]")->allow_extra_args(false);
  app.add_option("--ssh", flags.ssh,
                 "default, or ID[=SOCKET|KEYFILE[,KEYFILE]]: what RUN --mount=type=ssh and git take")
      ->allow_extra_args(false);
  app.add_option("--platform", flags.platforms,
                 "platforms to build for, separated by commas; several make an index (this machine's)")
      ->allow_extra_args(false);
  app.add_option("--annotation", annotations,
                 "[manifest|index|manifest-descriptor|index-descriptor[PLATFORM]:]KEY=VALUE")
      ->allow_extra_args(false);
  app.add_option("--network", flags.network, "network of RUN steps: default, none, host");
  app.add_flag("--no-cache", flags.no_cache, "do not use what is remembered");
  app.add_option("--no-cache-filter", flags.no_cache_filter, "the same for these stages")
      ->allow_extra_args(false);
  app.add_option("--timestamps", flags.timestamps,
                 "layer: times nobody set are the layer's; source: BuildKit's behaviour")
      ->check(CLI::IsMember({"layer", "source"}));
  std::string load;
  app.add_flag("--load{store}", load,
               "keep the image in the store (it always is); --load=docker, podman or containerd[:NAMESPACE]: "
               "give it to that program, too");
  app.add_flag("-q,--quiet", flags.quiet, "print the image id alone");
  app.add_option("--call", call,
                 "build, check, outline, targets; with ,format=json (check: sarif too) and ,ignorestatus");
  app.add_flag("--check", is_check, "look for mistakes in the Dockerfile: --call=check");
  app.add_option("--print", call, "")->group("");
  app.add_option("--iidfile", flags.iidfile, "write the image id to this file");
  app.add_option("--metadata-file", flags.metadata_file, "write the result as JSON to this file");
  app.add_option("--progress", flags.progress, "auto, tty, plain, rawjson, quiet");
  app.add_option("-o,--output", outputs,
                 "type=oci|docker|local|tar|image[,dest=PATH][,KEY=VALUE...], or a directory, or -")
      ->allow_extra_args(false);
  app.add_option("--add-host", flags.extra_hosts, "NAME:ADDRESS for /etc/hosts of RUN steps")
      ->allow_extra_args(false);
  app.add_option("--shm-size", flags.shm_size, "size of /dev/shm in RUN steps");
  app.add_flag("--trace", flags.trace, "print where the time went, at the end");
  app.add_option("--ulimit", flags.ulimits, "NAME=SOFT[:HARD] for RUN steps")->allow_extra_args(false);
  app.add_option("--max-size", flags.max_size,
                 "the most that the store may take while this builds (20GB); what was unused longest goes");
  app.add_option("--min-free", flags.min_free,
                 "what stays free on the store's disk (a hundredth of it, 256 MB at most; 0: nothing)");
  app.add_option("--size-budget", flags.size_budget,
                 "fail when the image's files are larger than this (100MB)");
  LimitFlags limits;
  limits.add_to(app);
  OtherFlags others;
  others.add_to(app);
  parse_flags(app, arguments);

  limits.read(flags);
  others.check();
  flags.immutable = others.immutable;
  flags.load = !load.empty() && load != "false";
  if (flags.load && load != "true" && load != "store") flags.load_to = load;
  flags.allows_insecure = others.allows_insecure();
  flags.cache_from = OtherFlags::caches(others.cache_from, cache::parse_cache_from);
  flags.cache_to = OtherFlags::caches(others.cache_to, cache::parse_cache_to);
  for (const std::string& arg : flags.build_args)
    if (arg == "BUILDKIT_INLINE_CACHE=1") flags.cache_to.push_back({.type = cache::Spec::Type::kInline});
  flags.pull = others.pull_policy();
  if (is_check) call = "check";
  if (!call.empty()) flags.call = parse_call(call);
  for (const std::string& output : outputs)
    if (!output.empty()) flags.outputs.push_back(parse_output(output));
  others.add_push(flags.outputs);
  if (!flags.immutable.empty() && std::none_of(flags.outputs.begin(), flags.outputs.end(),
                                               [](const OutputSpec& output) { return output.is_pushed; }))
    fail(ErrorCode::kUsage, "--immutable: nothing is pushed; it goes with --push");
  for (const std::string& text : annotations)
    for (image::AnnotationRule& rule : image::parse_annotation_flag(text))
      flags.annotations.push_back(std::move(rule));
  for (OutputSpec& output : flags.outputs)
    if (output.is_image())
      output.annotations.insert(output.annotations.begin(), flags.annotations.begin(),
                                flags.annotations.end());
  if (flags.network.empty()) flags.network = "default";
  if (flags.network != "default" && flags.network != "none" && flags.network != "host")
    fail(ErrorCode::kUsage, "network mode {} not supported: it is one of default, none, host",
         quote(flags.network));
  return flags;
}

}  // namespace corten::cli
