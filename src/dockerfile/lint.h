// BuildKit's checks, with its texts and in its order, and what `--call=outline` tells: both are by-products
// of one walk through the file, in which variables are given their values as the build would give them.
//
// The walk knows nothing of images and contexts. What a base image brings (its variables, its shell, its
// platform) and which names are contexts is told by whoever calls; without that the walk says nothing that
// depends on it. So `corten lint` works on a file alone, and a build's warnings are those of BuildKit.
//
// Source: docs.docker.com/reference/build-checks; BuildKit 0.32 frontend/dockerfile/linter and
// dockerfile2llb as measured (tests/conformance/checks).
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dockerfile/ast.h"
#include "dockerfile/ignore.h"
#include "oci/platform.h"

namespace corten::dockerfile {

struct LintRule {
  std::string_view name;  // "StageNameCasing"
  std::string_view url;   // "" for the one rule without a page
  std::string_view description;
  bool is_experimental = false;  // off unless asked for
};

std::span<const LintRule> lint_rules();

// A finding of a rule that lint_rules() has; throws Error(kInternal) for another name.
Diagnostic make_diagnostic(std::string_view rule, std::string message, SourceSpan span);

// What the walk has to know of an image that a stage begins with.
struct BaseFacts {
  std::vector<std::pair<std::string, std::string>> environment;
  bool has_shell = false;
  std::vector<std::string> triggers;  // ONBUILD
  std::optional<oci::Platform> platform;
};

struct LintOptions {
  std::optional<std::string> check_options;  // BUILDKIT_DOCKERFILE_CHECK; replaces the directive
  std::string target;                        // "": every stage when `all_stages`, else the last
  bool all_stages = true;                    // a build looks only at what it needs
  std::map<std::string, std::string> build_args;
  oci::Platform platform;        // to build for; empty: this machine's
  oci::Platform build_platform;  // empty: this machine's
  // What is known of an image; nothing: unknown.
  std::function<std::optional<BaseFacts>(const std::string& image, const oci::Platform&)> base;
  std::function<bool(const std::string&)> is_context;  // --build-context has this name
  const IgnoreMatcher* ignore = nullptr;               // of the main context
};

// `--call=outline`.
struct OutlineArg {
  std::string name, description, value;
  SourceSpan span;
};
struct OutlineAccess {  // of a secret or an ssh agent
  std::string name;
  bool required = false;
  SourceSpan span;
};
struct Outline {
  std::string name, description;  // the target's
  std::vector<OutlineArg> args;
  std::vector<OutlineAccess> secrets, ssh;
};

struct LintResult {
  std::vector<Diagnostic> findings;  // in BuildKit's order; `span` is the instruction's, `word` the culprit's
  bool is_error = false;             // error=true was asked for and there are findings
  std::optional<Error> error;        // why the file cannot be built, as far as the walk sees it
  Outline outline;
  std::string error_message() const;  // `lint violation found for rules: A, B`
};

// Throws Error(kInvalid) for check options that are none.
LintResult lint(const PartialDockerfile& file, const LintOptions& options = {});

// CopyIgnoredFile for one source of a COPY or ADD, expanded, from a local context with that ignore file: its
// clean path, when the list hides it. Lists with negations are not judged, and the whole context counts only
// as hidden when the list says so of everything.
std::optional<std::string> ignored_source(std::string_view source, const IgnoreMatcher& matcher);

}  // namespace corten::dockerfile
