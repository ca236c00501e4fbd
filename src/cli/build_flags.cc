#include "cli/build_flags.h"

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/suggest.h"
#include "cli/flags.h"
#include "cli/session.h"

namespace corten::cli {

BuildFlags parse_build_flags(const Arguments& arguments, const std::string& command_name) {
  BuildFlags flags;
  CLI::App app("Build an image from a Dockerfile.", command_name);
  std::vector<std::string> outputs, annotations;
  std::string pull, builder, ignored, call;
  bool is_check = false;
  bool push = false, ignored_flag = false;
  std::vector<std::string> ignored_list, provenance, sbom, cache_from, cache_to, allow;
  app.add_option("context", flags.context,
                 "directory, git repository (URL#REF:DIR), URL of an archive or a Dockerfile, or - for "
                 "standard input")
      ->required();
  app.add_option("-f,--file", flags.file,
                 "the Dockerfile (default: Dockerfile in the context; -: standard input)");
  app.add_option("-t,--tag", flags.tags, "name of the image, NAME[:TAG]; may be repeated")
      ->allow_extra_args(false);
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
  app.add_flag("--load", flags.load, "keep the image in the store (it always is; for scripts)");
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
  app.add_option("--ulimit", flags.ulimits, "NAME=SOFT[:HARD] for RUN steps")->allow_extra_args(false);
  app.add_option("--size-budget", flags.size_budget,
                 "fail when the image's files are larger than this (100MB)");
  app.add_option("--allow", allow, "entitlements, as buildx has them")->allow_extra_args(false);
  app.add_option("--builder", builder, "taken for scripts: there is one builder");
  app.add_flag("--pull", ignored_flag, "taken for scripts: bases come from the store");
  app.add_flag("--push", push, "push to a registry")->group("");
  app.add_option("--provenance", provenance, "")->group("")->allow_extra_args(false);
  app.add_option("--sbom", sbom, "")->group("")->allow_extra_args(false);
  app.add_option("--attest", sbom, "")->group("")->allow_extra_args(false);
  app.add_option("--cache-from", cache_from, "")->group("")->allow_extra_args(false);
  app.add_option("--cache-to", cache_to, "")->group("")->allow_extra_args(false);
  app.add_flag("--rm,--force-rm,--compress,--squash", ignored_flag, "")->group("");
  app.add_option("--isolation,--security-opt,--cgroup-parent", ignored_list, "")
      ->group("")
      ->allow_extra_args(false);
  parse_flags(app, arguments);

  auto refuse = [](bool given, const char* flag, const char* what) {
    if (given)
      throw Error(ErrorCode::kUnsupported, fmt::format("{} is not executed yet", flag)).with_hint(what);
  };
  refuse(push, "--push", "keep the image in the store, or write it with --output type=oci,dest=FILE");
  refuse(!cache_to.empty(), "--cache-to",
         "steps are remembered in the store, which can be kept between builds");
  refuse(!sbom.empty() && sbom.front() != "false", "--sbom", "build without it");
  if (!cache_from.empty()) print_warning("--cache-from is not used: steps are remembered in the store");
  for (const std::string& value : provenance)
    refuse(value != "false", "--provenance", "pass --provenance=false");
  if (is_check) call = "check";
  if (!call.empty()) flags.call = parse_call(call);
  for (const std::string& output : outputs) flags.outputs.push_back(parse_output(output));
  for (const std::string& text : annotations)
    for (image::AnnotationRule& rule : image::parse_annotation_flag(text))
      flags.annotations.push_back(std::move(rule));
  for (OutputSpec& output : flags.outputs)
    if (output.is_image())
      output.annotations.insert(output.annotations.begin(), flags.annotations.begin(),
                                flags.annotations.end());
  if (flags.network != "default" && flags.network != "none" && flags.network != "host")
    fail(ErrorCode::kUsage, "network mode {} not supported: it is one of default, none, host",
         quote(flags.network));
  return flags;
}

}  // namespace corten::cli
