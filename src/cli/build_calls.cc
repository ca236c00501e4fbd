#include "cli/build_calls.h"

#include <stdio.h>

#include <algorithm>

#include "base/strings.h"
#include "base/suggest.h"
#include "build/check.h"
#include "build/lower.h"
#include "cli/session.h"
#include "dockerfile/excerpt.h"
#include "dockerfile/instructions.h"
#include "dockerfile/mount.h"
#include "report/findings.h"

namespace corten::cli {

namespace {

// Images that are missing are taken as they come: a check asks about the file.
class SourcesForChecks : public build::Sources {
 public:
  explicit SourcesForChecks(build::Sources& sources) : sources_(sources) {}
  std::shared_ptr<const store::Tree> main_context() override { return sources_.main_context(); }
  std::shared_ptr<const store::Tree> named_tree(const std::string& name) override {
    return sources_.named_tree(name);
  }
  std::optional<source::BaseImage> named_image(const std::string& name,
                                               const oci::Platform& platform) override {
    return or_unknown([&] { return sources_.named_image(name, platform); }, name, platform);
  }
  bool has_named(const std::string& name) override { return sources_.has_named(name); }
  source::BaseImage image(const std::string& reference, const oci::Platform& platform) override {
    return *or_unknown([&] { return std::optional(sources_.image(reference, platform)); }, reference,
                       platform);
  }
  build::RemoteTree remote(const build::RemoteSource& source, const build::FetchWatch&) override {
    fail(ErrorCode::kUnsupported, "{}: a check fetches nothing", source.address);
  }

 private:
  template <typename F>
  static std::optional<source::BaseImage> or_unknown(F f, const std::string& name,
                                                     const oci::Platform& platform) {
    try {
      return f();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNotFound && error.code() != ErrorCode::kUnsupported) throw;
      source::BaseImage image;
      image.name = name;
      image.config.platform = platform;
      return image;
    }
  }
  build::Sources& sources_;
};

// What a build would refuse before its first step. What only this program refuses is not the file's fault.
std::optional<Error> error_of(const build::Request& request, build::Sources& sources) {
  SourcesForChecks lenient(sources);
  try {
    build::make_plan(request, lenient);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUnsupported) return error;
  }
  return std::nullopt;
}

// BuildKit marks all lines of the instruction, our errors the word.
void widen(Error& error, const dockerfile::PartialDockerfile& parsed) {
  if (!error.span() || error.span()->line < 1) return;
  int line = error.span()->line;
  auto take = [&](const SourceSpan& lines) {
    if (lines.line <= line && line <= std::max(lines.line, lines.end_line)) error.set_span(lines);
  };
  if (parsed.error) return take(parsed.error_lines);
  for (const dockerfile::Arg& arg : parsed.file.meta_args) take(arg.span);
  for (const dockerfile::Stage& stage : parsed.file.stages) {
    take(stage.from.span);
    for (const dockerfile::Command& command : stage.commands) take(dockerfile::instruction_of(command).span);
  }
}

std::vector<report::Finding> findings_of(const std::vector<dockerfile::Diagnostic>& warnings,
                                         const std::optional<Error>& error, const std::string& file) {
  std::vector<report::Finding> findings;
  for (const auto& warning : warnings) {
    SourceSpan place = warning.word.line > 0 ? warning.word : warning.span;
    place.file = file;
    findings.push_back(
        {warning.rule, report::Level::kWarning, warning.message, warning.detail, warning.url, place});
  }
  if (error) {
    SourceSpan place = error->span().value_or(SourceSpan());
    place.file = file;
    findings.push_back(
        {"BuildError", report::Level::kError, error->what(), "The file cannot be built", "", place});
  }
  return findings;
}

int check(const Call& call, const build::Request& request, build::Sources& sources) {
  report::CheckedFile file{request.dockerfile_name, request.dockerfile};
  dockerfile::PartialDockerfile parsed =
      dockerfile::parse_dockerfile_until_error(request.dockerfile, request.dockerfile_name);
  dockerfile::LintResult result;
  std::optional<Error> error;
  try {
    result = build::check_dockerfile(request, sources, parsed, request.target.empty());
    error = result.error ? result.error : error_of(request, sources);
    if (error) widen(*error, parsed);
  } catch (Error& wrong_options) {
    if (request.build_args.contains("BUILDKIT_DOCKERFILE_CHECK")) throw;
    wrong_options.set_span({});
    error = wrong_options;
  }
  if (!error && result.is_error) error = Error(ErrorCode::kInvalid, result.error_message());
  bool is_bad = error || !result.findings.empty();
  if (call.format == "sarif") {
    fputs(report::format_findings("sarif", findings_of(result.findings, error, file.name)).c_str(), stdout);
  } else if (call.format == "json") {
    fputs(report::check_json(file, result.findings, error).c_str(), stdout);
  } else {
    std::string text = report::check_text(file, result.findings);
    if (!is_bad) text = "Check complete, no warnings found.\n";
    if (error && !result.findings.empty()) text += "\n";
    fputs(text.c_str(), stdout);
  }
  if (error && call.format != "sarif") {
    fflush(stdout);
    fputs(("ERROR: " + report::check_error_text(file, *error)).c_str(), stderr);
    return 1;  // whatever ignorestatus says, as with buildx
  }
  return is_bad && !call.ignore_status ? 1 : 0;
}

dockerfile::Dockerfile parse_or_show(const build::Request& request) {
  try {
    return dockerfile::parse_dockerfile(request.dockerfile, request.dockerfile_name);
  } catch (Error& error) {
    if (error.span()) fputs(dockerfile::render_excerpt(request.dockerfile, *error.span()).c_str(), stderr);
    error.add_context("failed to build: failed to solve");
    throw;
  }
}

int outline(const Call& call, const build::Request& request, build::Sources& sources) {
  report::CheckedFile file{request.dockerfile_name, request.dockerfile};
  dockerfile::LintResult result =
      build::check_dockerfile(request, sources, {parse_or_show(request), std::nullopt}, false);
  if (auto found = result.error ? result.error : error_of(request, sources)) {
    Error error = *found;
    if (error.span()) fputs(dockerfile::render_excerpt(request.dockerfile, *error.span()).c_str(), stderr);
    error.add_context("failed to build: failed to solve");
    throw error;
  }
  fputs((call.format == "json" ? report::outline_json(file, result.outline)
                               : report::outline_text(result.outline))
            .c_str(),
        stdout);
  return 0;
}

int targets(const Call& call, const build::Request& request) {
  report::CheckedFile file{request.dockerfile_name, request.dockerfile};
  dockerfile::Dockerfile parsed = parse_or_show(request);
  fputs((call.format == "json" ? report::targets_json(file, parsed.stages)
                               : report::targets_text(parsed.stages))
            .c_str(),
        stdout);
  return 0;
}

}  // namespace

Call parse_call(std::string_view text) {
  Call call;
  bool is_named = false;
  for (const std::string& field : dockerfile::split_csv(text)) {
    size_t equals = field.find('=');
    std::string key = field.substr(0, equals);
    std::string value = equals == std::string::npos ? "" : field.substr(equals + 1);
    if (key == "format" && equals != std::string::npos) {
      call.format = value;
    } else if (key == "ignorestatus") {
      if (equals != std::string::npos && value != "true" && value != "false" && value != "1" && value != "0")
        fail(ErrorCode::kUsage, "invalid ignorestatus value {}", quote(value));
      call.ignore_status = value != "false" && value != "0";
    } else if (equals == std::string::npos && !is_named) {
      call.name = field;
      is_named = true;
    } else {
      fail(ErrorCode::kUsage, "invalid call value {}", quote(field));
    }
  }
  if (call.name.starts_with("frontend.")) call.name = call.name.substr(9);
  if (call.name == "lint") call.name = "check";
  const std::vector<std::string> kNames = {"build", "check", "outline", "targets"};
  if (std::find(kNames.begin(), kNames.end(), call.name) == kNames.end())
    throw Error(ErrorCode::kUsage,
                fmt::format("unsupported request frontend.{}{}", call.name, did_you_mean(call.name, kNames)))
        .with_hint("--call is one of build, check, outline, targets");
  bool is_known = call.format.empty() || call.format == "text" || call.format == "json" ||
                  (call.format == "sarif" && call.name == "check");
  if (!is_known)
    throw Error(ErrorCode::kUsage, fmt::format("--call={}: no format {}", call.name, quote(call.format)))
        .with_hint("it is text or json, and sarif for check");
  return call;
}

int run_call(const Call& call, build::Request request, build::Sources& sources) {
  request.all_stages = call.name == "check" && request.target.empty();
  if (call.name == "check") return check(call, request, sources);
  if (call.name == "outline") return outline(call, request, sources);
  return targets(call, request);
}

}  // namespace corten::cli
