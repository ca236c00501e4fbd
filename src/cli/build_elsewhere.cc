#include "cli/build_elsewhere.h"

#include <stdio.h>
#include <stdlib.h>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "cli/context_archive.h"
#include "cli/platforms.h"
#include "cli/session.h"
#include "oci/index.h"
#include "oci/reference.h"
#include "registry/access.h"
#include "registry/clean/acr_repository.h"
#include "registry/cloud/acr.h"
#include "registry/error_body.h"

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
  return build;
}

using Made = cloud::AcrResource::Made;

// What one command line builds in one registry.
class Elsewhere {
 public:
  explicit Elsewhere(const BuildFlags& flags)
      : flags_(flags),
        host_(cloud::acr_host(flags.on.substr(4))),
        build_(make_build(flags, host_)),
        platforms_(parse_platforms(flags.platforms)),
        token_(cloud::require_azure_token(context_, cloud::azure_manager(context_.environment))),
        registry_(context_, token_, host_,
                  {variable("AZURE_SUBSCRIPTION_ID"), variable("AZURE_RESOURCE_GROUP")}),
        archive_(flags.context, build_.dockerfile) {}

  void run() {
    if (!flags_.quiet)
      fmt::print(stderr, "context: {} entries, {} to {}\n", archive_.entries(), human_size(archive_.size()),
                 host_);
    if (build_.names.empty()) print_warning("no image is kept: there is no -t");
    if (platforms_.size() > 1 && !build_.names.empty()) return run_several();
    for (const Made& made : run_one(platforms_.empty() ? oci::Platform{} : platforms_[0], build_.names))
      print_made(made.repository, made.tag, made.digest);
  }

 private:
  std::string variable(const char* name) const { return context_.environment(name); }

  void print_made(const std::string& repository, const std::string& tag, const std::string& digest) const {
    fmt::print("{}\n", printable(fmt::format("{}/{}:{}@{}", host_, repository, tag, digest)));
  }

  std::vector<Made> run_one(const oci::Platform& platform, const std::vector<std::string>& names) {
    cloud::AcrResource::Build build = build_;
    build.names = names;
    if (!platform.os.empty()) {
      build.os = platform.os;
      build.architecture = platform.architecture;
      build.variant = platform.variant;
    }
    auto result = registry_.build(build, archive_.body(), [&](std::string_view text) {
      if (!flags_.quiet) fputs(printable(text).c_str(), stderr);
    });
    if (result.status != "Succeeded")
      throw Error(ErrorCode::kFailed,
                  fmt::format("build {} on {} ended as {}", result.id, host_, result.status))
          .with_hint(flags_.quiet ? "without -q its log is shown" : "");
    return result.images;
  }

  // Azure builds one platform at a time, under a tag of its own; then an index joins them, and these tags go.
  void run_several() {
    std::string name = build_.names[0], repository = name.substr(0, name.find(':'));
    std::vector<oci::Descriptor> members;
    std::vector<std::string> tags;
    registry::Credentials credentials;
    credentials.add(host_, cloud::exchange_acr_token(http_, host_, token_));
    registry::Access access({.http = {}, .credentials = credentials, .clock = nullptr});
    registry::Endpoint endpoint = registry::Hosts::from_system().origin(host_);
    registry::clean::AcrRepository there(access, endpoint, repository);
    for (const oci::Platform& platform : platforms_) {
      std::string tag = name.substr(name.find(':') + 1) + "-" + replace_all(platform.format(), "/", "-");
      tags.push_back(tag);
      for (const Made& made : run_one(platform, {repository + ":" + tag}))
        members.push_back(describe(there, made.digest, platform));
    }
    if (members.size() != platforms_.size())
      fail(ErrorCode::kFailed, "{}: {} images of {} platforms", host_, members.size(), platforms_.size());
    for (const std::string& one : build_.names) put_index(access, endpoint, one, repository, members);
    for (const std::string& tag : tags) there.untag(tag);
  }

  static oci::Descriptor describe(registry::clean::Repository& there, const std::string& digest,
                                  const oci::Platform& platform) {
    auto bytes = there.read_manifest(digest);
    if (!bytes || Digest::of(*bytes).to_string() != digest)
      fail(ErrorCode::kCorrupt, "{}: the registry does not have what it built", printable(digest));
    oci::Descriptor descriptor = oci::describe(oci::detect_manifest_type(*bytes), *bytes);
    descriptor.platform = platform;
    return descriptor;
  }

  void put_index(registry::Access& access, const registry::Endpoint& endpoint, const std::string& name,
                 const std::string& repository, const std::vector<oci::Descriptor>& members) const {
    if (name.substr(0, name.find(':')) != repository)
      fail(ErrorCode::kUsage, "-t {}: several platforms make one repository's images, here {}", name,
           repository);
    oci::Index index;
    index.manifests = members;
    std::string bytes = oci::emit_index(index), tag = name.substr(name.find(':') + 1);
    http::Request request{.url = "/" + repository + "/manifests/" + tag,
                          .fields = {{"Content-Type", index.media_type}},
                          .method = "PUT",
                          .body = http::RequestBody::of(bytes)};
    request.any_status = true;
    std::vector<std::string> scopes = {registry::repository_scope(repository, "pull,push")};
    http::Response response = access.send(endpoint, request, scopes);
    if (response.status != 201)
      throw access.refusal(endpoint, response.status,
                           registry::error_text(archive::read_rest(*response.body, 1 << 20)), scopes);
    print_made(repository, tag, Digest::of(bytes).to_string());
  }

  const BuildFlags& flags_;
  std::string host_;
  cloud::AcrResource::Build build_;
  std::vector<oci::Platform> platforms_;
  http::Client http_;
  cloud::AzureContext context_{http_};
  cloud::AzureToken token_;
  cloud::AcrResource registry_;
  ContextArchive archive_;
};

}  // namespace

int build_elsewhere(const BuildFlags& flags) {
  if (!flags.on.starts_with("acr:") || flags.on.size() == 4)
    throw Error(ErrorCode::kUsage, fmt::format("--on {}: no such place", quote(flags.on)))
        .with_hint("--on acr:REGISTRY");
  check_flags(flags);
  Elsewhere(flags).run();
  return 0;
}

}  // namespace corten::cli
