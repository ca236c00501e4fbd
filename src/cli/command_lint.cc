// `corten lint`: BuildKit's checks and what makes an image a bad one to ship, without a build and a store.
#include <stdio.h>
#include <unistd.h>

#include <algorithm>

#include "base/beneath.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/lint_settings.h"
#include "cli/session.h"
#include "dockerfile/instructions.h"
#include "dockerfile/lint.h"
#include "dockerfile/production_rules.h"
#include "report/findings.h"

namespace corten::cli {

namespace {

constexpr size_t kMaxFileBytes = 32 << 20;

report::Level level_of(dockerfile::Severity severity) {
  if (severity == dockerfile::Severity::kError) return report::Level::kError;
  return severity == dockerfile::Severity::kWarning ? report::Level::kWarning : report::Level::kInfo;
}

std::vector<report::Finding> lint_file(const std::string& file, const LintSettings& settings) {
  std::string text =
      file == "-" ? read_all(STDIN_FILENO, "standard input", kMaxFileBytes) : read_file(file, kMaxFileBytes);
  dockerfile::PartialDockerfile parsed = dockerfile::parse_dockerfile_until_error(text, file);
  dockerfile::LintResult checks = dockerfile::lint(parsed);
  std::vector<report::Finding> findings;
  for (const dockerfile::Diagnostic& found : checks.findings)
    findings.push_back({found.rule, report::Level::kWarning, found.message, found.detail, found.url,
                        found.word.line > 0 ? found.word : found.span});
  if (checks.error) {
    SourceSpan place = checks.error->span().value_or(SourceSpan());
    place.file = file;
    findings.push_back(
        {"DL1000", report::Level::kError, checks.error->what(), "The file cannot be built", "", place});
  }
  if (!parsed.error) {
    dockerfile::ProductionOptions options;
    options.trusted_registries = settings.trusted_registries;
    std::string directory = file.find('/') == std::string::npos ? "." : file.substr(0, file.rfind('/'));
    options.has_ignore_file =
        file == "-" || path_exists(directory + "/.dockerignore") || path_exists(file + ".dockerignore");
    for (auto& found : dockerfile::check_for_production(parsed.file, text, options))
      findings.push_back({found.rule, level_of(found.severity), found.message, "", "", found.span});
  }
  // CT1002 is for those who ask: a base of one's own is pinned by its lock file.
  std::erase_if(findings, [&](const report::Finding& f) {
    return settings.ignored.contains(f.rule) || (f.rule == "CT1002" && !settings.levels.contains(f.rule));
  });
  for (report::Finding& finding : findings)
    if (auto level = settings.levels.find(finding.rule); level != settings.levels.end())
      finding.level = level->second;
  std::stable_sort(findings.begin(), findings.end(),
                   [](const auto& a, const auto& b) { return a.place.line < b.place.line; });
  return findings;
}

}  // namespace

int command_lint(const Arguments& arguments) {
  CLI::App app("Look for mistakes in Dockerfiles, and for what should not be shipped.", "lint");
  std::vector<std::string> files, ignored, trusted;
  std::string config, format, threshold;
  LintSettings settings;
  app.add_option("file", files, "Dockerfiles, or - for standard input (default: Dockerfile)");
  app.add_option("--ignore", ignored, "a rule to leave out; may be repeated")->allow_extra_args(false);
  app.add_option("--trusted-registry", trusted, "bases may come from this one; may be repeated")
      ->allow_extra_args(false);
  app.add_option("-f,--format", format,
                 "tty, gnu, json, checkstyle, codeclimate, gitlab_codeclimate, sarif, github");
  app.add_option("-t,--failure-threshold", threshold,
                 "error, warning, info, style: the least that fails; none: nothing does (info)");
  app.add_option("-c,--config", config, "hadolint's settings (default: .hadolint.yaml here)");
  app.add_flag("--no-fail", settings.no_fail, "exit with 0 whatever is found");
  parse_flags(app, arguments);
  for (const char* name : {".hadolint.yaml", ".hadolint.yml"})
    if (config.empty() && path_exists(name)) config = name;
  bool no_fail = settings.no_fail;
  if (!config.empty()) read_lint_settings(read_file(config, 1 << 20), config, settings);
  settings.no_fail |= no_fail;
  if (!format.empty()) settings.format = format;
  if (!threshold.empty()) settings.threshold = threshold;
  settings.ignored.insert(ignored.begin(), ignored.end());
  settings.trusted_registries.insert(settings.trusted_registries.end(), trusted.begin(), trusted.end());
  auto least = report::parse_level(settings.threshold);
  if (!least && settings.threshold != "none" && settings.threshold != "ignore")
    throw Error(ErrorCode::kUsage, fmt::format("unknown threshold {}", quote(settings.threshold)))
        .with_hint("it is one of error, warning, info, style, none");
  if (files.empty()) files.push_back("Dockerfile");
  std::vector<report::Finding> findings;
  for (const std::string& file : files)
    for (report::Finding& finding : lint_file(file, settings)) findings.push_back(std::move(finding));
  std::string text = report::format_findings(settings.format, findings);
  write_fully(STDOUT_FILENO, text, "findings");
  bool is_bad = least && std::any_of(findings.begin(), findings.end(),
                                     [&](const report::Finding& f) { return f.level <= *least; });
  return is_bad && !settings.no_fail ? 1 : 0;
}

}  // namespace corten::cli
