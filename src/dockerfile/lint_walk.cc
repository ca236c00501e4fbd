// The walk of lint.h. It does what BuildKit's converter does between the syntax and the first step: global
// arguments and FROM lines of all stages (lint_from.cc), then the instructions of each stage in the order of
// the file, each seeing the variables that those before it have set. It keeps no image config: of a base
// image it needs four facts, and where they are not known it says less instead of guessing.
#include "dockerfile/lint_walk.h"

#include <algorithm>

#include "base/strings.h"
#include "dockerfile/instructions.h"
#include "dockerfile/lint_stages.h"
#include "dockerfile/mount.h"
#include "dockerfile/stages.h"
#include "dockerfile/values.h"
#include "dockerfile/with_span.h"

namespace corten::dockerfile {

std::optional<std::string> OrderedEnvironment::get(std::string_view name) const {
  auto found = values_.find(name);
  return found == values_.end() ? std::nullopt : std::optional(found->second);
}

void OrderedEnvironment::set(const std::string& name, std::string value) {
  if (!values_.contains(name)) names_.push_back(name);
  values_[name] = std::move(value);
}

size_t OrderedEnvironment::bytes() const {
  size_t total = 0;
  for (const auto& [name, value] : values_) total += 2 * name.size() + value.size();
  return total;
}

namespace {

// A key of which one part between underscores names a secret, and none says that it is meant to be seen.
bool names_secret(std::string_view key) {
  static const std::set<std::string, std::less<>> kSecret = {
      "apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"};
  static const std::set<std::string, std::less<>> kPublic = {"public", "file", "version"};
  bool is_secret = false;
  for (const std::string& part : split(to_lower(key), '_')) {
    if (kPublic.contains(part)) return false;
    is_secret |= kSecret.contains(part);
  }
  return is_secret;
}

// These are told to the builder, never to a step.
bool is_builder_arg(std::string_view name) {
  return name == "BUILDKIT_SBOM_SCAN_CONTEXT" || name == "BUILDKIT_SBOM_SCAN_STAGE";
}

// COPY and ADD take these from elsewhere; no ignore file hides them.
bool is_remote(std::string_view source) {
  return source.starts_with("http://") || source.starts_with("https://") || source.starts_with("git://") ||
         source.starts_with("ssh://") || source.starts_with("git@");
}

class Walk {
 public:
  Walk(const Dockerfile& file, const LintOptions& options, Findings& findings)
      : file_(file), options_(options), findings_(findings), words_{.escape = file.directives.escape} {}

  void run(Outline& outline) {
    FromLines lines = read_from_lines(file_, options_,
                                      options_.platform.os.empty() ? oci::host_platform() : options_.platform,
                                      budget_, findings_);
    globals_ = std::move(lines.globals);
    stages_ = std::move(lines.stages);
    by_name_ = std::move(lines.by_name);
    std::vector<std::optional<size_t>> bases;
    for (const StageWalk& s : stages_) bases.push_back(s.base);
    const std::vector<std::vector<StageNeed>> needs = stage_needs(file_, bases, by_name_);
    refuse_circles(file_, needs);
    size_t target = find_target(file_.stages, options_.target);
    std::vector<bool> wanted(stages_.size(), options_.all_stages && options_.target.empty());
    mark_needed(needs, target, wanted);
    for (size_t i = 0; i < stages_.size(); i++)
      if (wanted[i]) begin(i);
    for (size_t i = 0; i < stages_.size(); i++)
      if (wanted[i]) walk(i);
    tell_outline(file_, target, stages_, needs, lines.meta, outline);
  }

 private:
  // What the image brings. Before the stages are gone through: BuildKit resolves all images first.
  void begin(size_t index) {
    StageWalk& s = stages_[index];
    const From& from = file_.stages[index].from;
    bool is_replaced = from.name && options_.is_context && options_.is_context(from.name->text);
    if (is_replaced) s.base.reset();
    std::string image = is_replaced ? from.name->text : s.image;
    if (s.base || image == "scratch") return;
    auto facts = options_.base ? options_.base(image, s.platform) : std::nullopt;
    if (!facts) {
      s.is_base_known = false;
      return;
    }
    for (const auto& [name, value] : facts->environment) s.environment.set(name, value);
    s.has_shell = facts->has_shell;
    s.triggers = facts->triggers;
    if (!facts->platform || is_replaced) return;
    if (facts->platform->os != s.platform.os || facts->platform->architecture != s.platform.architecture)
      findings_.add("InvalidBaseImagePlatform", from.span, from.image.span,
                    fmt::format("Base image {} was pulled with platform {}, expected {} for current build",
                                s.image, quote(facts->platform->normalized().format_all()),
                                quote(s.platform.normalized().format_all())),
                    findings_.options());
  }

  void walk(size_t index) {
    index_ = index;
    StageWalk& s = stages_[index];
    const Stage& stage = file_.stages[index];
    if (s.base) {
      const StageWalk& base = stages_[*s.base];
      s.platform = base.platform;
      with_span(stage.from.span, [&] { return budget_.take(base.environment.bytes()), 0; });
      s.environment = base.environment;
      s.declared = base.declared;
      s.has_shell = base.has_shell;
      s.has_workdir = base.has_workdir;
      s.is_base_known = base.is_base_known;
      s.triggers = base.triggers;
    }
    if (!s.environment.get("PATH"))
      s.environment.set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    for (const std::string& trigger : std::exchange(s.triggers, {})) {
      Command command = with_span(stage.from.span, [&] { return parse_instruction(trigger, "ONBUILD"); });
      place_ = &stage.from.span;
      apply(s, command);
    }
    place_ = nullptr;
    for (const Command& command : stage.commands) apply(s, command);
  }

  void apply(StageWalk& s, const Command& command) {
    const Instruction& instruction = instruction_of(command);
    here_ = place_ ? *place_ : instruction.span;
    check_ = findings_.merged(instruction.comments);
    with_span(here_, [&] {
      std::visit([&](const auto& c) { apply_one(s, c, command.index()); }, command);
      return 0;
    });
  }

  void report(std::string_view rule, const SourceSpan& word, std::string message) {
    findings_.add(rule, here_, place_ ? SourceSpan() : word, std::move(message), check_);
  }

  std::string value_of(StageWalk& s, const Word& word) { return value_of(s, word.text, word.span); }
  std::string value_of(StageWalk& s, std::string_view text, const SourceSpan& place) {
    Expansion found = expand(text, s.environment, words_);
    budget_.take(found.text.size());
    report_unset(s, found, place);
    return std::move(found.text);
  }

  void report_unset(StageWalk& s, const Expansion& found, const SourceSpan& place) {
    for (const std::string& name : found.unmatched) {
      if (is_builder_arg(name)) continue;
      if (std::find(s.declared.begin(), s.declared.end(), name) != s.declared.end()) continue;
      std::string near = near_name(name, s.environment.names());
      // A base that is not known may well set it, unless it looks like a slip of the pen.
      if (!s.is_base_known && near.empty()) continue;
      report("UndefinedVar", place,
             fmt::format("Usage of undefined variable '${}'{}", name,
                         near.empty() ? "" : " (did you mean $" + near + "?)"));
    }
  }

  template <typename T>
  void apply_one(StageWalk&, const T&, size_t) {}

  void apply_one(StageWalk& s, const Env& env, size_t) {
    auto entries = values_of(s, env.entries);
    for (size_t i = 0; i < entries.size(); i++) {
      check_legacy(env, env.entries[i]);
      check_secret("ENV", entries[i].first, env.entries[i].key.span);
      s.environment.set(entries[i].first, entries[i].second);
    }
  }
  void apply_one(StageWalk& s, const Label& label, size_t) {
    values_of(s, label.entries);
    for (const KeyValue& entry : label.entries) check_legacy(label, entry);
  }
  // Values of one line see what was set before it.
  std::vector<std::pair<std::string, std::string>> values_of(StageWalk& s,
                                                             const std::vector<KeyValue>& entries) {
    std::vector<std::pair<std::string, std::string>> values;
    for (const KeyValue& entry : entries) {
      std::string key = value_of(s, entry.key);
      values.emplace_back(std::move(key), value_of(s, entry.value));
    }
    return values;
  }
  void check_legacy(const Instruction& instruction, const KeyValue& entry) {
    if (entry.is_legacy)
      report("LegacyKeyValueFormat", {},
             fmt::format("\"{0} key=value\" should be used instead of legacy \"{0} key value\" format",
                         instruction.keyword));
  }
  void check_secret(std::string_view keyword, const std::string& name, const SourceSpan& place) {
    if (names_secret(name))
      report(
          "SecretsUsedInArgOrEnv", place,
          fmt::format("Do not use ARG or ENV instructions for sensitive data ({} {})", keyword, quote(name)));
  }

  void apply_one(StageWalk& s, const Arg& arg, size_t) {
    for (const ArgDeclaration& entry : arg.entries) {
      check_secret("ARG", entry.name, entry.span);
      std::optional<std::string> value;
      bool is_global = false;
      if (auto given = options_.build_args.find(entry.name); given != options_.build_args.end()) {
        value = given->second;
      } else if (entry.value) {
        value = value_of(s, *entry.value);
      } else if ((value = globals_.get(entry.name))) {
        is_global = true;
      }
      if (value && !is_builder_arg(entry.name)) s.environment.set(entry.name, *value);
      if (!is_global)
        s.args.emplace_back(entry.name,
                            ArgInfo{{entry.name, entry.description, value.value_or(""), here_}, {}});
      s.used.insert(entry.name);
      s.declared.push_back(entry.name);
    }
  }

  void apply_one(StageWalk& s, const Copy& copy, size_t) {
    transfer(s, copy, nullptr, copy.from ? nullptr : options_.ignore, "Copy");
    if (copy.from && is_later(copy.from->text, true))
      fail(ErrorCode::kInvalid, "cannot copy from stage {}, it needs to be defined before current stage {}",
           quote(copy.from->text), quote(stage_label(file_.stages, index_)));
  }
  void apply_one(StageWalk& s, const Add& add, size_t) { transfer(s, add, &add, options_.ignore, "Add"); }
  void transfer(StageWalk& s, const Transfer& transfer, const Add* add, const IgnoreMatcher* ignore,
                std::string_view verb) {
    if (transfer.chown) value_of(s, *transfer.chown);
    if (transfer.chmod) value_of(s, *transfer.chmod);
    if (add && add->checksum) value_of(s, *add->checksum);
    std::vector<std::string> sources;
    for (const Word& source : transfer.sources) sources.push_back(value_of(s, source));
    value_of(s, transfer.destination);
    for (const Heredoc& heredoc : transfer.heredocs)
      if (heredoc.expand)
        report_unset(s,
                     expand(heredoc.chomped_content(), s.environment, {.escape = '\\', .plain_quotes = true}),
                     heredoc.span);
    if (!ignore) return;
    for (size_t i = 0; i < sources.size(); i++) {
      if (is_remote(sources[i])) continue;
      if (auto path = ignored_source(sources[i], *ignore))
        report("CopyIgnoredFile", transfer.sources[i].span,
               fmt::format("Attempting to {} file {} that is excluded by .dockerignore", verb, quote(*path)));
    }
  }

  void apply_one(StageWalk& s, const Run& run, size_t) {
    for (const Word& csv : run.mounts) {
      Mount mount = parse_mount(csv, [&](std::string_view text) { return value_of(s, text, csv.span); });
      if (mount.from && is_later(*mount.from, false))
        fail(ErrorCode::kInvalid,
             "cannot mount from stage {} to {}, stage needs to be defined before current command",
             quote(*mount.from), quote(mount.target));
      auto add = [&](std::vector<OutlineAccess>& list, const std::string& name) {
        for (const OutlineAccess& known : list)
          if (known.name == name) return;
        list.push_back({name, mount.required, here_});
      };
      if (mount.type == MountType::kSsh) add(s.ssh, mount.id.empty() ? "default" : mount.id);
      if (mount.type == MountType::kSecret) {
        std::string id = mount.source.empty() ? mount.id : mount.source;
        if (id.empty()) id = mount.target.substr(mount.target.rfind('/') + 1);
        add(s.secrets, id);
      }
    }
  }

  // A stage below the one that is gone through.
  bool is_later(const std::string& name, bool allow_index) const {
    if (auto number = allow_index ? parse_int(name) : std::nullopt)
      return *number > static_cast<int64_t>(index_) && *number < static_cast<int64_t>(stages_.size());
    auto found = by_name_.find(to_lower(name));
    return found != by_name_.end() && found->second > index_;
  }

  void apply_one(StageWalk& s, const Workdir& workdir, size_t) {
    std::string path = value_of(s, workdir.path);
    if (!s.has_workdir && !path.starts_with('/'))
      report("WorkdirRelativePath", workdir.path.span,
             fmt::format("Relative workdir {} can have unexpected results if the base image changes",
                         quote(path)));
    s.has_workdir = true;
  }
  void apply_one(StageWalk& s, const User& user, size_t) { value_of(s, user.user); }
  void apply_one(StageWalk& s, const Volume& volume, size_t) {
    for (const Word& path : volume.paths) value_of(s, path);
  }
  void apply_one(StageWalk& s, const StopSignal& signal, size_t) { value_of(s, signal.signal); }
  void apply_one(StageWalk& s, const Shell& shell, size_t) { s.has_shell = !shell.argv.empty(); }
  void apply_one(StageWalk& s, const Onbuild& onbuild, size_t) { s.triggers.push_back(onbuild.trigger); }

  void apply_one(StageWalk& s, const Expose& expose, size_t) {
    std::vector<Word> words = expose.ports;  // in the order of their texts, as BuildKit has them
    std::sort(words.begin(), words.end(), [](const Word& a, const Word& b) { return a.text < b.text; });
    for (const Word& word : words)
      for (const std::string& text : process_words(word.text, s.environment, words_)) {
        PortSpec port = parse_port_spec(text);
        if (to_lower(port.protocol_as_written) != port.protocol_as_written)
          report("ExposeProtoCasing", word.span,
                 fmt::format("Defined protocol '{}' in EXPOSE instruction should be lowercase", text));
        if (port.has_host_part)
          report("ExposeInvalidFormat", word.span,
                 fmt::format(
                     "EXPOSE instruction should not define an IP address or host-port mapping, found '{}'",
                     text));
      }
  }

  void apply_one(StageWalk& s, const Cmd& cmd, size_t kind) {
    check_once(s, cmd, kind);
    check_json(s, cmd, cmd.command);
  }
  void apply_one(StageWalk& s, const Entrypoint& entrypoint, size_t kind) {
    check_once(s, entrypoint, kind);
    check_json(s, entrypoint, entrypoint.command);
  }
  void apply_one(StageWalk& s, const Healthcheck& check, size_t kind) { check_once(s, check, kind); }

  // The earlier one is told of: it is the one that does nothing.
  void check_once(StageWalk& s, const Instruction& instruction, size_t kind) {
    if (auto earlier = s.last.find(kind); earlier != s.last.end())
      findings_.add("MultipleInstructionsDisallowed", earlier->second, {},
                    fmt::format("Multiple {} instructions should not be used in the same stage because only "
                                "the last one will be used",
                                instruction.keyword),
                    check_);
    s.last[kind] = here_;
  }
  void check_json(StageWalk& s, const Instruction& instruction, const CommandLine& command) {
    if (!command.is_shell || s.has_shell) return;
    report("JSONArgsRecommended", {},
           fmt::format("JSON arguments recommended for {} to prevent unintended behavior related to OS "
                       "signals",
                       instruction.keyword));
  }

  const Dockerfile& file_;
  const LintOptions& options_;
  Findings& findings_;
  ExpandOptions words_;
  OrderedEnvironment globals_;
  std::map<std::string, size_t> by_name_;
  std::vector<StageWalk> stages_;
  const SourceSpan* place_ = nullptr;  // set while triggers run: they have no line of their own
  ExpansionBudget budget_;
  size_t index_ = 0;  // the stage that is gone through
  SourceSpan here_;
  CheckOptions check_;
};

}  // namespace

void walk_stages(const Dockerfile& file, const LintOptions& options, Findings& findings, Outline& outline) {
  Walk(file, options, findings).run(outline);
}

}  // namespace corten::dockerfile
