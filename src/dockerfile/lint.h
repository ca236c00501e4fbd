// BuildKit's checks that need only the syntax tree. Others (an undefined variable, an ignored file, the
// platform of a base image) need the build's inputs and are found while lowering; they take their texts from
// here too.
//
// Source: docs.docker.com/reference/build-checks; BuildKit frontend/dockerfile/linter/ruleset.go as measured.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dockerfile/ast.h"
#include "dockerfile/ignore.h"

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

// All findings in the order of the file, the parser's own (`file.warnings`) among them. `# check=skip=Rule`
// above an instruction and the file's check directive are applied, unless `check_options` replaces the
// directive. Experimental rules run only when the options name them.
struct LintOptions {
  std::string check_options;  // BUILDKIT_DOCKERFILE_CHECK; replaces the directive when not empty
};
struct LintResult {
  std::vector<Diagnostic> findings;
  bool is_error = false;              // error=true was asked for and there are findings
  std::string error_message() const;  // `lint violation found for rules: A, B`
};
// Throws Error(kInvalid) for check options that are none.
LintResult lint(const Dockerfile& file, const LintOptions& options = {});

// CopyIgnoredFile for one source of a COPY or ADD, expanded, from a local context with that ignore file. It
// looks only at lists without negations, and at the whole context only when the list excludes everything.
std::optional<Diagnostic> check_ignored_source(std::string_view keyword, const Word& source,
                                               const IgnoreMatcher& matcher);

}  // namespace corten::dockerfile
