#include "dockerfile/lint.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/path.h"
#include "base/strings.h"
#include "base/suggest.h"
#include "dockerfile/directives.h"
#include "dockerfile/expand.h"
#include "dockerfile/stages.h"
#include "dockerfile/values.h"

namespace corten::dockerfile {

namespace {

enum class LetterCase { kUpper, kLower, kMixed };

LetterCase case_of(std::string_view word) {
  if (to_upper(word) == word) return LetterCase::kUpper;
  return to_lower(word) == word ? LetterCase::kLower : LetterCase::kMixed;
}

// A key of which one part between underscores names a secret, and none says that it is meant to be seen.
bool names_secret(std::string_view key) {
  static const std::set<std::string, std::less<>> kSecret = {
      "apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"};
  static const std::set<std::string, std::less<>> kPublic = {"public", "file", "version"};
  bool is_secret = false;
  for (const std::string& part : split(to_lower(key), '_')) {
    if (kPublic.count(part)) return false;
    is_secret |= kSecret.count(part) > 0;
  }
  return is_secret;
}

// What FROM may use without declaring it.
const std::vector<std::string> kAutomaticArgs = {
    "BUILDPLATFORM", "BUILDOS",         "BUILDOSVERSION", "BUILDARCH",     "BUILDVARIANT", "TARGETPLATFORM",
    "TARGETOS",      "TARGETOSVERSION", "TARGETARCH",     "TARGETVARIANT", "TARGETSTAGE"};

class Linter {
 public:
  Linter(const Dockerfile& file, CheckOptions options) : file_(file), options_(std::move(options)) {}

  LintResult run() {
    for (const Diagnostic& warning : file_.warnings) keep(warning, options_);
    count_cases();
    check_meta_args();
    for (size_t i = 0; i < file_.stages.size(); i++) check_stage(i);
    std::stable_sort(result_.findings.begin(), result_.findings.end(),
                     [](const Diagnostic& a, const Diagnostic& b) { return a.span.line < b.span.line; });
    result_.is_error = is_error_ && !result_.findings.empty();
    return std::move(result_);
  }

 private:
  // `# check=...` right above an instruction adds to the file's options, up to its first blank.
  CheckOptions options_at(const Instruction& at) const {
    CheckOptions merged = options_;
    for (const std::string& comment : at.comments) {
      if (comment.substr(0, 6) != "check=") continue;
      CheckOptions own;
      try {
        own = parse_check_options(comment.substr(
            6, comment.find(' ') == std::string::npos ? std::string::npos : comment.find(' ') - 6));
      } catch (const Error&) {
        continue;  // a comment after all
      }
      merged.skip.insert(merged.skip.end(), own.skip.begin(), own.skip.end());
      merged.experimental.insert(merged.experimental.end(), own.experimental.begin(), own.experimental.end());
      merged.skip_all |= own.skip_all;
      merged.experimental_all |= own.experimental_all;
      merged.is_error |= own.is_error;
    }
    return merged;
  }

  void keep(Diagnostic finding, const CheckOptions& options) {
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
    is_error_ |= options.is_error;
    result_.findings.push_back(std::move(finding));
  }

  void report(std::string_view rule, const Instruction& at, const SourceSpan& span, std::string message) {
    keep(make_diagnostic(rule, std::move(message), span), options_at(at));
  }

  void count_cases() {
    int upper = 0, lower = 0;
    auto count = [&](const Instruction& instruction) {
      LetterCase found = case_of(instruction.keyword);
      upper += found == LetterCase::kUpper;
      lower += found == LetterCase::kLower;
    };
    for (const Stage& stage : file_.stages) {
      count(stage.from);
      for (const Command& command : stage.commands) count(instruction_of(command));
    }
    majority_ = lower > upper ? LetterCase::kLower : LetterCase::kUpper;
  }

  void check_case(const Instruction& at) {
    if (case_of(at.keyword) == majority_) return;
    report("ConsistentInstructionCasing", at, at.span,
           fmt::format("Command '{}' should match the case of the command majority ({})", at.keyword,
                       majority_ == LetterCase::kLower ? "lowercase" : "uppercase"));
  }

  void check_description(const Instruction& at, std::string_view keyword, std::string_view name,
                         std::string_view description) {
    if (at.comments.empty() || name.empty() || !description.empty()) return;
    report("InvalidDefinitionDescription", at, at.span,
           fmt::format("Comment for {} should follow the format: `# {} <description>`", keyword, name));
  }

  void check_meta_args() {
    for (const std::string& name : kAutomaticArgs) declared_.push_back(name);
    for (const Arg& arg : file_.meta_args)
      for (const ArgDeclaration& entry : arg.entries) {
        declared_.push_back(entry.name);
        if (entry.value) {
          try {
            defaults_.set(entry.name,
                          process_word(entry.value->text, defaults_, {.escape = file_.directives.escape}));
          } catch (const Error&) {
            has_broken_default_ = true;  // the build says so
          }
        }
        check_description(arg, "ARG", entry.name, entry.description);
      }
  }

  void check_stage(size_t index) {
    const Stage& stage = file_.stages[index];
    check_from(index);
    // What the parent stage, if it is one of this file, has set already.
    auto parent = find_base_stage(file_.stages, stage.from.image.text, index);
    StageState state = parent ? states_[*parent] : StageState();
    std::map<size_t, const Instruction*> last;  // of CMD, ENTRYPOINT, HEALTHCHECK by their place in Command
    for (const Command& command : stage.commands) {
      const Instruction& at = instruction_of(command);
      check_case(at);
      bool is_single = std::holds_alternative<Cmd>(command) || std::holds_alternative<Entrypoint>(command) ||
                       std::holds_alternative<Healthcheck>(command);
      if (is_single) {
        const Instruction*& earlier = last[command.index()];
        if (earlier)
          report("MultipleInstructionsDisallowed", *earlier, earlier->span,
                 fmt::format("Multiple {} instructions should not be used in the same stage because only the "
                             "last one will be used",
                             keyword_of(command)));
        earlier = &at;
      }
      std::visit([&](const auto& instruction) { check(instruction, state); }, command);
    }
    states_.push_back(state);
  }

  struct StageState {
    bool has_shell = false;
    bool has_workdir = false;
  };

  void check_from(size_t index) {
    const From& from = file_.stages[index].from;
    check_case(from);
    if (from.name) check_stage_name(index);
    check_description(from, "FROM", from.name ? from.name->text : "", file_.stages[index].description);
    if (from.platform) check_platform(from);
    check_from_variables(from, from.image);
    if (from.platform) check_from_variables(from, *from.platform);
    check_default_base(from);
  }

  void check_stage_name(size_t index) {
    const From& from = file_.stages[index].from;
    const std::string& name = from.name->text;
    if (from.name_as_written != name)
      report("StageNameCasing", from, from.name->span,
             fmt::format("Stage name '{}' should be lowercase", from.name_as_written));
    if (case_of(from.keyword) != LetterCase::kMixed && case_of(from.as_keyword) != case_of(from.keyword))
      report("FromAsCasing", from, from.span,
             fmt::format("'{}' and '{}' keywords' casing do not match", from.as_keyword, from.keyword));
    if (find_base_stage(file_.stages, name, index))
      report("DuplicateStageName", from, from.name->span,
             fmt::format("Duplicate stage name {}, stage names should be unique", quote(name)));
    if (name == "scratch" || name == "context")
      report("ReservedStageName", from, from.name->span,
             fmt::format("Stage name should not use the same name as reserved stage {}", quote(name)));
  }

  void check_platform(const From& from) {
    const Word& platform = *from.platform;
    if (platform.text == "$TARGETPLATFORM" || platform.text == "${TARGETPLATFORM}") {
      report("RedundantTargetPlatform", from, platform.span,
             fmt::format(
                 "Setting platform to predefined {} in FROM is redundant as this is the default behavior",
                 platform.text));
      return;
    }
    if (platform.text.empty() || platform.text.find('$') != std::string::npos) return;
    // A stage that is named for its platform says that this is on purpose.
    std::vector<std::string> parts = split(platform.text, '/');
    for (size_t i = 0; from.name && i < parts.size() && i < 2; i++)
      if (!parts[i].empty() && from.name->text.find(parts[i]) != std::string::npos) return;
    report("FromPlatformFlagConstDisallowed", from, platform.span,
           fmt::format("FROM --platform flag should not use constant value {}", quote(platform.text)));
  }

  void check_from_variables(const From& from, const Word& word) {
    try {
      for (const std::string& name :
           expand(word.text, defaults_, {.escape = file_.directives.escape}).unmatched) {
        if (std::find(declared_.begin(), declared_.end(), name) != declared_.end()) continue;
        report("UndefinedArgInFrom", from, word.span,
               fmt::format("FROM argument '{}' is not declared{}", name, did_you_mean(name, declared_)));
      }
    } catch (const Error&) {
      // The build refuses it, with a better text.
    }
  }

  // With the defaults alone the image's name must not come out empty, or with an empty part.
  void check_default_base(const From& from) {
    if (has_broken_default_ || from.image.text.find('$') == std::string::npos) return;
    try {
      Expansion base = expand(from.image.text, defaults_, {.escape = file_.directives.escape});
      auto is_automatic = [](const std::string& name) {
        return std::find(kAutomaticArgs.begin(), kAutomaticArgs.end(), name) != kAutomaticArgs.end();
      };
      if (std::any_of(base.unmatched.begin(), base.unmatched.end(), is_automatic)) return;
      const std::string& text = base.text;
      constexpr std::string_view kSeparators = ":/@";
      bool is_invalid = text.empty() || kSeparators.find(text.front()) != std::string_view::npos ||
                        kSeparators.find(text.back()) != std::string_view::npos ||
                        text.find("//") != std::string::npos;
      if (is_invalid)
        report("InvalidDefaultArgInFrom", from, from.image.span,
               fmt::format("Default value for ARG {} results in empty or invalid base image name",
                           from.image.text));
    } catch (const Error&) {
      // As above.
    }
  }

  template <typename T>
  void check(const T&, StageState&) {}

  void check(const Shell&, StageState& state) { state.has_shell = true; }
  void check(const Cmd& cmd, StageState& state) { check_json(cmd, cmd.command, "CMD", state); }
  void check(const Entrypoint& entrypoint, StageState& state) {
    check_json(entrypoint, entrypoint.command, "ENTRYPOINT", state);
  }

  void check_json(const Instruction& at, const CommandLine& command, std::string_view keyword,
                  const StageState& state) {
    if (!command.is_shell || state.has_shell) return;
    report(
        "JSONArgsRecommended", at, at.span,
        fmt::format("JSON arguments recommended for {} to prevent unintended behavior related to OS signals",
                    keyword));
  }

  void check(const Maintainer& maintainer, StageState&) {
    report("MaintainerDeprecated", maintainer, maintainer.span,
           "Maintainer instruction is deprecated in favor of using label");
  }

  void check(const Workdir& workdir, StageState& state) {
    const std::string& path = workdir.path.text;
    bool may_be_absolute = path.find_first_of("/$\"'") == 0;  // a variable's value is not known here
    if (!state.has_workdir && !may_be_absolute)
      report("WorkdirRelativePath", workdir, workdir.span,
             fmt::format("Relative workdir {} can have unexpected results if the base image changes",
                         quote(path)));
    state.has_workdir = true;
  }

  void check(const Env& env, StageState&) {
    check_legacy(env, env.entries, "ENV");
    for (const KeyValue& entry : env.entries) check_secret(env, entry.key.span, "ENV", entry.key.text);
  }
  void check(const Label& label, StageState&) { check_legacy(label, label.entries, "LABEL"); }
  void check(const Arg& arg, StageState&) {
    for (const ArgDeclaration& entry : arg.entries) {
      check_secret(arg, entry.span, "ARG", entry.name);
      check_description(arg, "ARG", entry.name, entry.description);
    }
  }

  void check_legacy(const Instruction& at, const std::vector<KeyValue>& entries, std::string_view keyword) {
    for (const KeyValue& entry : entries)
      if (entry.is_legacy)
        report("LegacyKeyValueFormat", at, at.span,
               fmt::format("\"{0} key=value\" should be used instead of legacy \"{0} key value\" format",
                           keyword));
  }

  void check_secret(const Instruction& at, const SourceSpan& span, std::string_view keyword,
                    const std::string& name) {
    if (names_secret(name))
      report(
          "SecretsUsedInArgOrEnv", at, span,
          fmt::format("Do not use ARG or ENV instructions for sensitive data ({} {})", keyword, quote(name)));
  }

  void check(const Expose& expose, StageState&) {
    for (const Word& word : expose.ports) {
      if (word.text.find('$') != std::string::npos) continue;
      PortSpec port;
      try {
        port = parse_port_spec(word.text);
      } catch (const Error&) {
        continue;  // an error of the build
      }
      if (to_lower(port.protocol_as_written) != port.protocol_as_written)
        report("ExposeProtoCasing", expose, word.span,
               fmt::format("Defined protocol '{}' in EXPOSE instruction should be lowercase", word.text));
      if (port.has_host_part)
        report(
            "ExposeInvalidFormat", expose, word.span,
            fmt::format("EXPOSE instruction should not define an IP address or host-port mapping, found '{}'",
                        word.text));
    }
  }

  const Dockerfile& file_;
  CheckOptions options_;
  LintResult result_;
  bool is_error_ = false;
  LetterCase majority_ = LetterCase::kUpper;
  std::vector<std::string> declared_;
  MapEnvironment defaults_;
  bool has_broken_default_ = false;
  std::vector<StageState> states_;
};

}  // namespace

LintResult lint(const Dockerfile& file, const LintOptions& options) {
  CheckOptions check;
  if (!options.check_options.empty()) {
    check = parse_check_options(options.check_options);
  } else if (file.directives.check) {
    try {
      check = parse_check_options(file.directives.check->text);
    } catch (Error& error) {
      error.set_span(file.directives.check->span);
      throw;
    }
  }
  return Linter(file, std::move(check)).run();
}

std::string LintResult::error_message() const {
  std::vector<std::string> rules;
  for (const Diagnostic& finding : findings)
    if (std::find(rules.begin(), rules.end(), finding.rule) == rules.end()) rules.push_back(finding.rule);
  return "lint violation found for rules: " + join(rules, ", ");
}

std::optional<Diagnostic> check_ignored_source(std::string_view keyword, const Word& source,
                                               const IgnoreMatcher& matcher) {
  if (matcher.empty() || matcher.has_negations()) return std::nullopt;
  std::string path = RootfsPath(source.text).str();
  bool is_ignored = path.empty() ? matcher.has_match_all() : matcher.is_ignored(path);
  if (!is_ignored) return std::nullopt;
  std::string verb = keyword == "ADD" ? "Add" : "Copy";
  return make_diagnostic(
      "CopyIgnoredFile",
      fmt::format("Attempting to {} file {} that is excluded by .dockerignore", verb, quote(source.text)),
      source.span);
}

}  // namespace corten::dockerfile
