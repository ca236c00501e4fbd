#include "cli/build_elsewhere.h"

#include <stdio.h>
#include <stdlib.h>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "cli/context_archive.h"
#include "cli/platforms.h"
#include "cli/session.h"
#include "oci/reference.h"
#include "registry/cloud/acr.h"

namespace corten::cli {

namespace {

namespace cloud = registry::cloud;

void refuse(bool is_given, const char* flag) {
  if (!is_given) return;
  throw Error(ErrorCode::kUnsupported, fmt::format("{} cannot be had in a build in Azure", flag))
      .with_hint("build here and push, or do without it");
}

void check_flags(const BuildFlags& flags) {
  refuse(!flags.secrets.empty(), "--secret");
  refuse(!flags.ssh.empty(), "--ssh");
  refuse(!flags.outputs.empty() || flags.load, "an output");
  refuse(!flags.build_contexts.empty(), "--build-context");
  refuse(!flags.labels.empty(), "--label");
  refuse(!flags.annotations.empty(), "--annotation");
  refuse(!flags.iidfile.empty(), "--iidfile");
  refuse(!flags.metadata_file.empty(), "--metadata-file");
  refuse(!flags.no_cache_filter.empty(), "--no-cache-filter");
  refuse(flags.call.name != "build", "--call");
  if (flags.context.empty() || flags.context == "-" || flags.context.find("://") != std::string::npos)
    fail(ErrorCode::kUnsupported, "--on: the context is a directory of this machine");
}

// "REGISTRY.azurecr.io/app:v1" and "app:v1" to "app:v1"; of another registry: Error(kUsage).
std::string name_there(const std::string& tag, const std::string& host) {
  std::string first = tag.substr(0, tag.find('/'));
  bool has_host = tag.find('/') != std::string::npos && first.find_first_of(".:") != std::string::npos;
  if (has_host && first != host)
    fail(ErrorCode::kUsage, "-t {}: a build on {} makes images of that registry", quote(tag), host);
  oci::Reference reference =
      oci::Reference::parse("acr.invalid/" + (has_host ? tag.substr(first.size() + 1) : tag))
          .with_default_tag();
  return reference.repository() + ":" + reference.tag();
}

cloud::AcrResource::Build make_build(const BuildFlags& flags, const std::string& host) {
  cloud::AcrResource::Build build{.dockerfile = flags.file.empty() ? "Dockerfile" : flags.file,
                                  .target = flags.target,
                                  .no_cache = flags.no_cache};
  if (build.dockerfile.starts_with(flags.context + "/")) build.dockerfile.erase(0, flags.context.size() + 1);
  if (build.dockerfile.starts_with("./")) build.dockerfile.erase(0, 2);
  for (const std::string& tag : flags.tags) build.names.push_back(name_there(tag, host));
  for (const std::string& argument : flags.build_args) {
    size_t equals = argument.find('=');
    const char* value =
        equals == std::string::npos ? getenv(argument.c_str()) : argument.c_str() + equals + 1;
    if (value) build.arguments.emplace_back(argument.substr(0, equals), value);
  }
  auto platforms = parse_platforms(flags.platforms);
  if (platforms.size() > 1)
    throw Error(ErrorCode::kUnsupported, "--on: Azure builds one platform at a time")
        .with_hint("build each with a tag of its own, then join them: corten imagetools create");
  if (!platforms.empty()) {
    build.os = platforms[0].os;
    build.architecture = platforms[0].architecture;
    build.variant = platforms[0].variant;
  }
  return build;
}

}  // namespace

int build_elsewhere(const BuildFlags& flags) {
  if (!flags.on.starts_with("acr:") || flags.on.size() == 4)
    throw Error(ErrorCode::kUsage, fmt::format("--on {}: no such place", quote(flags.on)))
        .with_hint("--on acr:REGISTRY");
  check_flags(flags);
  std::string host = cloud::acr_host(flags.on.substr(4));
  cloud::AcrResource::Build build = make_build(flags, host);
  http::Client http;
  cloud::AzureContext context{http};
  cloud::AzureToken token = cloud::require_azure_token(context, cloud::azure_manager(context.environment));
  auto environment = [&](const char* name) { return context.environment(name); };
  cloud::AcrResource registry(context, std::move(token), host,
                              {environment("AZURE_SUBSCRIPTION_ID"), environment("AZURE_RESOURCE_GROUP")});
  ContextArchive archive(flags.context, build.dockerfile);
  if (!flags.quiet)
    fmt::print(stderr, "context: {} entries, {} to {}\n", archive.entries(), human_size(archive.size()),
               host);
  auto result = registry.build(build, archive.body(), [&](std::string_view text) {
    if (!flags.quiet) fputs(printable(text).c_str(), stderr);
  });
  if (result.status != "Succeeded")
    throw Error(ErrorCode::kFailed, fmt::format("build {} on {} ended as {}", result.id, host, result.status))
        .with_hint(flags.quiet ? "without -q its log is shown" : "");
  if (build.names.empty()) print_warning("no image is kept: there was no -t");
  for (const std::string& image : result.images) fmt::print("{}\n", image);
  return 0;
}

}  // namespace corten::cli
