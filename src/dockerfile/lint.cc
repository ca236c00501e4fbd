#include "dockerfile/lint.h"

#include <algorithm>
#include <set>

#include "base/path.h"
#include "base/strings.h"
#include "base/suggest.h"
#include "dockerfile/lint_walk.h"
#include "dockerfile/stages.h"

namespace corten::dockerfile {

namespace {

enum class LetterCase { kUpper, kLower, kMixed };

// A word without letters counts as lower case, as in BuildKit.
LetterCase case_of(std::string_view word) {
  if (to_lower(word) == word) return LetterCase::kLower;
  return to_upper(word) == word ? LetterCase::kUpper : LetterCase::kMixed;
}

// What BuildKit says while it reads instruction by instruction.
class SyntaxRules {
 public:
  SyntaxRules(const Dockerfile& file, Findings& findings) : file_(file), findings_(findings) {}

  void while_reading() {
    for (const Diagnostic& warning : file_.warnings) findings_.add(warning, findings_.options());
    for (const Arg& arg : file_.meta_args) read(arg);
    for (const Stage& stage : file_.stages) {
      read(stage.from);
      for (const Command& command : stage.commands) {
        if (auto* arg = std::get_if<Arg>(&command)) read(*arg);
        if (auto* maintainer = std::get_if<Maintainer>(&command))
          report("MaintainerDeprecated", *maintainer, {},
                 "Maintainer instruction is deprecated in favor of using label");
      }
    }
  }

  // Of the file as a whole: comments above an instruction skip none of these.
  void of_names_and_case() {
    std::set<std::string> names;
    for (const Stage& stage : file_.stages) {
      if (!stage.from.name) continue;
      const std::string& name = stage.from.name->text;
      if (name == "scratch" || name == "context")
        whole("ReservedStageName", stage.from, stage.from.name->span,
              fmt::format("Stage name should not use the same name as reserved stage {}", quote(name)));
      if (!names.insert(name).second)
        whole("DuplicateStageName", stage.from, stage.from.name->span,
              fmt::format("Duplicate stage name {}, stage names should be unique", quote(name)));
    }
    int upper = 0, lower = 0;
    for_all([&](const Instruction& instruction) {
      upper += case_of(instruction.keyword) == LetterCase::kUpper;
      lower += case_of(instruction.keyword) == LetterCase::kLower;
    });
    LetterCase majority = lower > upper ? LetterCase::kLower : LetterCase::kUpper;
    for_all([&](const Instruction& instruction) {
      if (case_of(instruction.keyword) == majority) return;
      whole("ConsistentInstructionCasing", instruction, {},
            fmt::format("Command '{}' should match the case of the command majority ({})",
                        instruction.keyword, majority == LetterCase::kLower ? "lowercase" : "uppercase"));
    });
  }

 private:
  template <typename F>
  void for_all(F f) {
    for (const Stage& stage : file_.stages) {
      f(stage.from);
      for (const Command& command : stage.commands) f(instruction_of(command));
    }
  }

  void report(std::string_view rule, const Instruction& at, const SourceSpan& word, std::string message) {
    findings_.add(rule, at.span, word, std::move(message), findings_.merged(at.comments));
  }
  void whole(std::string_view rule, const Instruction& at, const SourceSpan& word, std::string message) {
    findings_.add(rule, at.span, word, std::move(message), findings_.options());
  }

  void read(const From& from) {
    if (!from.name) return;
    if (from.name_as_written != from.name->text)
      report("StageNameCasing", from, from.name->span,
             fmt::format("Stage name '{}' should be lowercase", from.name_as_written));
    LetterCase written = case_of(from.keyword);
    bool fits = written == LetterCase::kMixed ||
                from.as_keyword ==
                    (written == LetterCase::kLower ? to_lower(from.as_keyword) : to_upper(from.as_keyword));
    if (!fits)
      report("FromAsCasing", from, {},
             fmt::format("'{}' and '{}' keywords' casing do not match", from.as_keyword, from.keyword));
    check_description(from, "FROM", {from.name->text});
  }

  void read(const Arg& arg) {
    std::vector<std::string> names;
    for (const ArgDeclaration& entry : arg.entries) names.push_back(entry.name);
    check_description(arg, "ARG", names);
  }

  // The comment's last line must begin with a name that is declared below it.
  void check_description(const Instruction& at, std::string_view keyword,
                         const std::vector<std::string>& names) {
    if (at.comments.empty() || names.empty()) return;
    std::string first = split(at.comments.back(), ' ').front();
    if (std::find(names.begin(), names.end(), first) != names.end()) return;
    report("InvalidDefinitionDescription", at, {},
           fmt::format("Comment for {} should follow the format: `# {} <description>`", keyword,
                       names.size() > 1 ? "<arg_key>" : names.front()));
  }

  const Dockerfile& file_;
  Findings& findings_;
};

CheckOptions options_of(const Dockerfile& file, const LintOptions& options) {
  if (options.check_options) {
    try {
      return parse_check_options(*options.check_options);
    } catch (Error& error) {
      error.add_context("failed to parse build-arg:BUILDKIT_DOCKERFILE_CHECK");
      throw;
    }
  }
  if (!file.directives.check) return {};
  try {
    return parse_check_options(file.directives.check->text);
  } catch (Error& error) {
    error.add_context("failed to parse check options");
    error.set_span(file.directives.check->span);
    throw;
  }
}

}  // namespace

CheckOptions Findings::merged(const std::vector<std::string>& comments) const {
  for (const std::string& comment : comments) {
    size_t equals = comment.find('=');
    if (equals == std::string::npos || to_lower(trim(comment.substr(0, equals))) != "check") continue;
    std::string_view value = trim(std::string_view(comment).substr(equals + 1));
    if (value.empty()) continue;
    CheckOptions all = options_;
    try {
      CheckOptions own = parse_check_options(value.substr(0, value.find(' ')));
      all.skip.insert(all.skip.end(), own.skip.begin(), own.skip.end());
      all.experimental.insert(all.experimental.end(), own.experimental.begin(), own.experimental.end());
      all.skip_all |= own.skip_all;
      all.experimental_all |= own.experimental_all;
    } catch (const Error&) {
      // A comment after all.
    }
    return all;
  }
  return options_;
}

void Findings::add(Diagnostic finding, const CheckOptions& options) {
  auto has = [&](const std::vector<std::string>& names) {
    return std::find(names.begin(), names.end(), finding.rule) != names.end();
  };
  auto rules = lint_rules();
  auto rule = std::find_if(rules.begin(), rules.end(),
                           [&](const LintRule& known) { return known.name == finding.rule; });
  bool is_experimental = rule != rules.end() && rule->is_experimental;
  if (is_experimental ? !options.experimental_all && !has(options.experimental)
                      : options.skip_all || has(options.skip))
    return;
  list_.push_back(std::move(finding));
}

std::string near_name(std::string_view name, const std::vector<std::string>& candidates) {
  std::string best;
  int best_distance = 3;
  for (const std::string& candidate : candidates) {
    if (candidate == name) return {};
    int distance = edit_distance(name, candidate);
    if (distance < best_distance) best = candidate, best_distance = distance;
  }
  return best;
}

LintResult lint(const PartialDockerfile& partial, const LintOptions& options) {
  LintResult result;
  Findings findings(options_of(partial.file, options));
  SyntaxRules rules(partial.file, findings);
  rules.while_reading();
  result.error = partial.error;
  if (!result.error) {
    rules.of_names_and_case();
    try {
      walk_stages(partial.file, options, findings, result.outline);
    } catch (const Error& error) {
      result.error = error;
    }
  }
  result.is_error = findings.options().is_error && !findings.empty();
  result.findings = findings.take();
  return result;
}

std::string LintResult::error_message() const {
  std::vector<std::string> rules;
  for (const Diagnostic& finding : findings)
    if (std::find(rules.begin(), rules.end(), finding.rule) == rules.end()) rules.push_back(finding.rule);
  return "lint violation found for rules: " + join(rules, ", ");
}

std::optional<std::string> ignored_source(std::string_view source, const IgnoreMatcher& matcher) {
  if (matcher.empty() || matcher.has_negations()) return std::nullopt;
  std::string clean = clean_path(source);
  // BuildKit does not take the slash off a path, so that only the root itself is judged by its absolute name.
  bool is_root = clean == "." || clean == "/";
  bool is_ignored = is_root ? matcher.has_match_all() : !clean.starts_with('/') && matcher.is_ignored(clean);
  if (!is_ignored) return std::nullopt;
  return clean;
}

}  // namespace corten::dockerfile
