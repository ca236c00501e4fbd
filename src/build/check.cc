#include "build/check.h"

#include <algorithm>

#include "base/error.h"

namespace corten::build {

namespace {

dockerfile::BaseFacts facts_of(const oci::ImageConfig& config) {
  dockerfile::BaseFacts facts;
  for (const std::string& entry : config.config.env) {
    size_t equals = entry.find('=');
    facts.environment.emplace_back(entry.substr(0, equals),
                                   equals == std::string::npos ? "" : entry.substr(equals + 1));
  }
  facts.has_shell = !config.config.shell.empty();
  facts.triggers = config.config.on_build;
  if (!config.platform.os.empty()) facts.platform = config.platform;
  return facts;
}

}  // namespace

dockerfile::LintResult check_dockerfile(const Request& request, Sources& sources,
                                        const dockerfile::PartialDockerfile& file, bool all_stages) {
  dockerfile::LintOptions options;
  if (auto given = request.build_args.find("BUILDKIT_DOCKERFILE_CHECK"); given != request.build_args.end())
    options.check_options = given->second;
  options.target = request.target;
  options.all_stages = all_stages;
  options.build_args = request.build_args;
  options.build_platform = request.build_platform;
  options.ignore = sources.ignore_matcher();
  options.is_context = [&](const std::string& name) {
    return name != "scratch" && name != "context" && sources.has_named(name);
  };
  options.base = [&](const std::string& image,
                     const oci::Platform& platform) -> std::optional<dockerfile::BaseFacts> {
    try {
      if (!sources.has_named(image)) return facts_of(sources.image(image, platform).config);
      auto named = sources.named_image(image, platform);
      if (!named) return dockerfile::BaseFacts();
      dockerfile::BaseFacts facts = facts_of(named->config);
      facts.platform.reset();  // a context is what its user says
      return facts;
    } catch (const Error&) {
      return std::nullopt;
    }
  };
  // What is true for several platforms is said once.
  dockerfile::LintResult all;
  for (const oci::Platform& platform : request.platforms) {
    options.platform = platform;
    dockerfile::LintResult one = dockerfile::lint(file, options);
    if (&platform == &request.platforms.front()) {
      all = std::move(one);
      continue;
    }
    all.is_error |= one.is_error;
    for (dockerfile::Diagnostic& finding : one.findings)
      if (std::none_of(all.findings.begin(), all.findings.end(), [&](const dockerfile::Diagnostic& said) {
            return said.rule == finding.rule && said.message == finding.message && said.span == finding.span;
          }))
        all.findings.push_back(std::move(finding));
  }
  return all;
}

}  // namespace corten::build
