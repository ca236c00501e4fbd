// Internal to the room: the two halves of lint(). lint.cc has the rules that see only the syntax;
// lint_walk.cc goes through the stages with variables in hand.
#pragma once
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "dockerfile/directives.h"
#include "dockerfile/expand.h"
#include "dockerfile/lint.h"

namespace corten::dockerfile {

// Variables in the order in which they were first set: suggestions prefer the earlier of two that are
// equally near.
class OrderedEnvironment : public Environment {
 public:
  std::optional<std::string> get(std::string_view name) const override;
  void set(const std::string& name, std::string value);
  const std::vector<std::string>& names() const { return names_; }
  size_t bytes() const;

 private:
  std::vector<std::string> names_;
  std::map<std::string, std::string, std::less<>> values_;
};

// Where findings go: rules that are skipped for the file or for an instruction are dropped here.
class Findings {
 public:
  explicit Findings(CheckOptions options) : options_(std::move(options)) {}
  // The file's options with those of a `# check=` comment right above an instruction.
  CheckOptions merged(const std::vector<std::string>& comments) const;
  const CheckOptions& options() const { return options_; }
  void add(Diagnostic finding, const CheckOptions& options);
  void add(std::string_view rule, const SourceSpan& span, const SourceSpan& word, std::string message,
           const CheckOptions& options) {
    Diagnostic finding = make_diagnostic(rule, std::move(message), span);
    finding.word = word;
    add(std::move(finding), options);
  }
  std::vector<Diagnostic> take() { return std::move(list_); }
  bool empty() const { return list_.empty(); }

 private:
  CheckOptions options_;
  std::vector<Diagnostic> list_;
};

// A variable's name that is near enough to be meant: BuildKit's measure (fewer than three edits, the case
// counts).
std::string near_name(std::string_view name, const std::vector<std::string>& candidates);

// Goes through the stages; throws Error where the build would.
void walk_stages(const Dockerfile& file, const LintOptions& options, Findings& findings, Outline& outline);

}  // namespace corten::dockerfile
