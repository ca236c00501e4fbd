// Findings about a Dockerfile in the forms that people and programs read: the check results of
// `docker buildx build --call`, to the byte, and the forms of linters.
//
// Sources: BuildKit 0.32 frontend/subrequests as measured; hadolint's formatters; SARIF 2.1.0; Checkstyle's
// XML; Code Climate's issue type; GitHub's workflow commands.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dockerfile/ast.h"
#include "dockerfile/lint.h"

namespace corten::report {

// --- buildx's ---

// The file that a call was about.
struct CheckedFile {
  std::string name;
  std::string text;
};

// "Check complete, 2 warnings have been found!" and each of them with its lines. `error` comes last, if there
// is one: it belongs on standard error.
std::string check_text(const CheckedFile& file, const std::vector<dockerfile::Diagnostic>& findings);
// What is printed for an error instead of, or after, the warnings: its text and its lines.
std::string check_error_text(const CheckedFile& file, const Error& error);
std::string check_json(const CheckedFile& file, const std::vector<dockerfile::Diagnostic>& findings,
                       const std::optional<Error>& error);
std::string outline_text(const dockerfile::Outline& outline);
std::string outline_json(const CheckedFile& file, const dockerfile::Outline& outline);
std::string targets_text(const std::vector<dockerfile::Stage>& stages);
std::string targets_json(const CheckedFile& file, const std::vector<dockerfile::Stage>& stages);

// The lines of a place as BuildKit prints them, without a caret.
std::string marked_lines(const CheckedFile& file, const SourceSpan& span);

// --- linters' ---

enum class Level { kError, kWarning, kInfo, kStyle };
std::string_view level_name(Level level);
std::optional<Level> parse_level(std::string_view text);

struct Finding {
  std::string rule;  // "DL3006", "StageNameCasing"
  Level level = Level::kWarning;
  std::string message;
  std::string detail, url;  // may be empty
  SourceSpan place;         // its file as the user named it
};

// tty, gnu, json, checkstyle, codeclimate, gitlab_codeclimate, sarif, github. Error(kUsage) for another.
std::string format_findings(std::string_view format, const std::vector<Finding>& findings);

}  // namespace corten::report
