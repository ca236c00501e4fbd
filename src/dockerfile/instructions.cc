#include "dockerfile/instructions.h"

#include <map>

#include "base/strings.h"
#include "base/suggest.h"
#include "dockerfile/flags.h"
#include "dockerfile/heredoc.h"
#include "dockerfile/limits.h"
#include "dockerfile/mount.h"
#include "dockerfile/parser.h"
#include "dockerfile/runes.h"
#include "dockerfile/values.h"

namespace corten::dockerfile {

namespace {

[[noreturn]] void fail_at(const SourceSpan& span, std::string message) {
  throw Error(ErrorCode::kInvalid, std::move(message)).with_span(span);
}

// The place without its end past the first line, for errors about a whole instruction.
template <typename T>
T make_instruction(const Node& node) {
  T result;
  result.keyword = node.keyword;
  result.original = std::string(trim_space(node.original));
  result.span = node.span;
  result.comments = node.comments;
  return result;
}

void require_some(const Node& node, std::string_view command) {
  if (node.args.empty()) fail_at(node.span, fmt::format("{} requires at least one argument", command));
}

void require_one(const Node& node, std::string_view command) {
  if (node.args.size() != 1) fail_at(node.span, fmt::format("{} requires exactly one argument", command));
}

void refuse_flags(const Node& node) {
  Flags(node.flags, {});
}

// The text of a comment `NAME text` right above.
std::string description_of(const Node& node, std::string_view name) {
  if (name.empty()) return {};
  for (const std::string& comment : node.comments)
    if (comment.size() > name.size() && comment.substr(0, name.size()) == name && comment[name.size()] == ' ')
      return comment.substr(name.size() + 1);
  return {};
}

CommandLine command_line_of(const std::vector<Word>& words, bool is_json, const SourceSpan& fallback) {
  CommandLine line;
  line.is_shell = !is_json;
  line.span = words.empty() ? fallback : words.front().span;
  if (!words.empty()) {
    line.span.end_line = words.back().span.end_line;
    line.span.end_column = words.back().span.end_column;
  }
  for (const Word& word : words) line.args.push_back(word.text);
  if (line.is_shell) line.args = {join(line.args, " ")};
  return line;
}

std::vector<KeyValue> key_values_of(const Node& node, std::string_view command) {
  require_some(node, command);
  std::vector<KeyValue> entries;
  for (size_t i = 0; i + 2 < node.args.size(); i += 3) {
    if (node.args[i].text.empty())
      fail_at(node.args[i].span, fmt::format("{} names can not be blank", command));
    entries.push_back({node.args[i], node.args[i + 1], node.args[i + 2].text.empty()});
  }
  return entries;
}

bool is_stage_name(std::string_view name) {
  if (name.empty() || name[0] < 'a' || name[0] > 'z') return false;
  for (char c : name)
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.')) return false;
  return true;
}

From parse_from(const Node& node) {
  From from = make_instruction<From>(node);
  const auto& args = node.args;
  if (args.size() == 3 && iequals(args[1].text, "as")) {
    from.name = Word{to_lower(args[2].text), args[2].span};
    from.name_as_written = args[2].text;
    from.as_keyword = args[1].text;
    if (!is_stage_name(from.name->text))
      fail_at(
          args[2].span,
          fmt::format("invalid name for build stage: {}, name can't start with a number or contain symbols",
                      quote(args[2].text)));
  } else if (args.size() != 1) {
    fail_at(node.span, "FROM requires either one or three arguments");
  }
  from.platform = Flags(node.flags, {{"platform", FlagKind::kString}}).string("platform");
  from.image = args[0];
  return from;
}

Command parse_run(const Node& node) {
  Run run = make_instruction<Run>(node);
  Flags flags(node.flags, {{"mount", FlagKind::kStrings},
                           {"network", FlagKind::kString},
                           {"security", FlagKind::kString},
                           {"device", FlagKind::kStrings}});
  run.command = command_line_of(node.args, node.is_json, node.span);
  run.heredocs = node.heredocs;
  run.mounts = flags.strings("mount");
  for (const Word& mount : run.mounts) check_mount_syntax(mount);
  run.devices = flags.strings("device");
  for (const Word& device : run.devices) parse_device(device);
  if (auto network = flags.string("network"); network && !network->text.empty()) {
    if (network->text == "default")
      run.network = RunNetwork::kDefault;
    else if (network->text == "none")
      run.network = RunNetwork::kNone;
    else if (network->text == "host")
      run.network = RunNetwork::kHost;
    else
      fail_at(network->span, fmt::format("invalid network mode {}", quote(network->text)));
  }
  if (auto security = flags.string("security"); security && !security->text.empty()) {
    if (security->text == "sandbox")
      run.security = RunSecurity::kSandbox;
    else if (security->text == "insecure")
      run.security = RunSecurity::kInsecure;
    else
      fail_at(security->span, fmt::format("security {} is not valid", quote(security->text)));
  }
  return run;
}

// Sources and destination; flags that both know.
void read_transfer(Transfer& transfer, const Node& node, const Flags& flags, std::string_view command) {
  for (size_t i = 0; i < node.args.size(); i++) {
    const Word& word = node.args[i];
    std::optional<Heredoc> mark;
    try {
      if (!node.is_json) mark = parse_heredoc_mark(word.text);
    } catch (const Error&) {
      mark.reset();  // its quotes are judged when the word is expanded
    }
    bool is_destination = i + 1 == node.args.size();
    if (mark && is_destination)
      fail_at(word.span, fmt::format("{} cannot accept a heredoc as a destination", command));
    if (is_destination) {
      transfer.destination = word;
    } else if (!mark) {
      transfer.sources.push_back(word);
    } else {
      for (const Heredoc& heredoc : node.heredocs)
        if (heredoc.name == mark->name) mark->content = heredoc.content, mark->span = heredoc.span;
      transfer.heredocs.push_back(std::move(*mark));
    }
  }
  transfer.chown = flags.string("chown");
  transfer.chmod = flags.string("chmod");
  transfer.link = flags.boolean("link").value_or(false);
  transfer.excludes = flags.strings("exclude");
}

void require_destination(const Node& node, std::string_view command) {
  if (node.args.size() < 2)
    fail_at(node.span, fmt::format("{} requires at least two arguments, but only one was provided. "
                                   "Destination could not be determined",
                                   command));
}

Command parse_copy(const Node& node) {
  require_destination(node, "COPY");
  Flags flags(node.flags, {{"from", FlagKind::kString},
                           {"chown", FlagKind::kString},
                           {"chmod", FlagKind::kString},
                           {"link", FlagKind::kBool},
                           {"parents", FlagKind::kBool},
                           {"exclude", FlagKind::kStrings}});
  Copy copy = make_instruction<Copy>(node);
  read_transfer(copy, node, flags, "COPY");
  copy.from = flags.string("from");
  copy.parents = flags.boolean("parents").value_or(false);
  return copy;
}

Command parse_add(const Node& node) {
  require_destination(node, "ADD");
  Flags flags(node.flags, {{"chown", FlagKind::kString},
                           {"chmod", FlagKind::kString},
                           {"link", FlagKind::kBool},
                           {"keep-git-dir", FlagKind::kBool},
                           {"checksum", FlagKind::kString},
                           {"unpack", FlagKind::kBool},
                           {"exclude", FlagKind::kStrings}});
  Add add = make_instruction<Add>(node);
  read_transfer(add, node, flags, "ADD");
  add.keep_git_dir = flags.boolean("keep-git-dir");
  add.unpack = flags.boolean("unpack");
  add.checksum = flags.string("checksum");
  return add;
}

Command parse_env(const Node& node) {
  refuse_flags(node);
  Env env = make_instruction<Env>(node);
  env.entries = key_values_of(node, "ENV");
  return env;
}

Command parse_label(const Node& node) {
  refuse_flags(node);
  Label label = make_instruction<Label>(node);
  label.entries = key_values_of(node, "LABEL");
  return label;
}

// Flags are not looked at: what looks like one is swallowed, as in BuildKit.
Command parse_arg(const Node& node) {
  require_some(node, "ARG");
  Arg arg = make_instruction<Arg>(node);
  for (const Word& word : node.args) {
    ArgDeclaration entry;
    size_t equals = word.text.find('=');
    entry.name = word.text.substr(0, equals);
    entry.span = word.span;
    if (equals == 0) fail_at(word.span, "ARG names can not be blank");
    if (equals != std::string::npos) {
      entry.value = Word{word.text.substr(equals + 1), word.span};
      entry.value->span.column += static_cast<int>(equals) + 1;
    }
    entry.description = description_of(node, entry.name);
    arg.entries.push_back(std::move(entry));
  }
  return arg;
}

Command parse_cmd(const Node& node) {
  refuse_flags(node);
  Cmd cmd = make_instruction<Cmd>(node);
  cmd.command = command_line_of(node.args, node.is_json, node.span);
  return cmd;
}

Command parse_entrypoint(const Node& node) {
  refuse_flags(node);
  Entrypoint entrypoint = make_instruction<Entrypoint>(node);
  entrypoint.command = command_line_of(node.args, node.is_json, node.span);
  return entrypoint;
}

int64_t parse_interval(const Flags& flags, std::string_view name) {
  auto word = flags.string(name);
  if (!word || word->text.empty()) return 0;
  try {
    int64_t value = parse_duration_ns(word->text);
    if (value != 0 && value < 1'000'000)
      fail(ErrorCode::kInvalid, "Interval {} cannot be less than 1ms", quote(name));
    return value;
  } catch (Error& error) {
    error.set_span(word->span);
    throw;
  }
}

Command parse_healthcheck(const Node& node) {
  require_some(node, "HEALTHCHECK");
  Healthcheck health = make_instruction<Healthcheck>(node);
  std::string type = to_upper(node.args[0].text);
  std::vector<Word> words(node.args.begin() + 1, node.args.end());
  if (type == "NONE") {
    if (!words.empty()) fail_at(node.span, "HEALTHCHECK NONE takes no arguments");
    health.test = {type};
    return health;
  }
  Flags flags(node.flags, {{"interval", FlagKind::kString},
                           {"timeout", FlagKind::kString},
                           {"start-period", FlagKind::kString},
                           {"start-interval", FlagKind::kString},
                           {"retries", FlagKind::kString}});
  if (type != "CMD")
    fail_at(node.args[0].span, fmt::format("Unknown type {} in HEALTHCHECK (try CMD)", quote(type)));
  CommandLine command = command_line_of(words, node.is_json, node.span);
  if (words.empty()) fail_at(node.span, "Missing command after HEALTHCHECK CMD");
  health.test = {command.is_shell ? "CMD-SHELL" : "CMD"};
  health.test.insert(health.test.end(), command.args.begin(), command.args.end());
  health.interval_ns = parse_interval(flags, "interval");
  health.timeout_ns = parse_interval(flags, "timeout");
  health.start_period_ns = parse_interval(flags, "start-period");
  health.start_interval_ns = parse_interval(flags, "start-interval");
  if (auto retries = flags.string("retries"); retries && !retries->text.empty()) {
    auto count = parse_int(retries->text);
    if (!count || *count > INT32_MAX || *count < INT32_MIN)
      fail_at(retries->span,
              fmt::format("strconv.ParseInt: parsing {}: invalid syntax", quote(retries->text)));
    if (*count < 0) fail_at(retries->span, fmt::format("--retries cannot be negative ({})", *count));
    health.retries = *count;
  }
  return health;
}

Command parse_expose(const Node& node) {
  require_some(node, "EXPOSE");
  refuse_flags(node);
  Expose expose = make_instruction<Expose>(node);
  expose.ports = node.args;
  return expose;
}

Command parse_volume(const Node& node) {
  require_some(node, "VOLUME");
  refuse_flags(node);
  Volume volume = make_instruction<Volume>(node);
  for (const Word& word : node.args) {
    std::string_view path = trim_space(word.text);
    if (path.empty()) fail_at(word.span, "VOLUME specified can not be an empty string");
    volume.paths.push_back({std::string(path), word.span});
  }
  return volume;
}

Command parse_user(const Node& node) {
  require_one(node, "USER");
  refuse_flags(node);
  User user = make_instruction<User>(node);
  user.user = node.args[0];
  return user;
}

Command parse_workdir(const Node& node) {
  require_one(node, "WORKDIR");
  refuse_flags(node);
  Workdir workdir = make_instruction<Workdir>(node);
  workdir.path = node.args[0];
  return workdir;
}

Command parse_stop_signal(const Node& node) {
  require_one(node, "STOPSIGNAL");
  StopSignal signal = make_instruction<StopSignal>(node);
  signal.signal = node.args[0];
  return signal;
}

Command parse_shell(const Node& node) {
  refuse_flags(node);
  if (!node.is_json && !node.args.empty())
    fail_at(node.span, "SHELL requires the arguments to be in JSON form");
  require_some(node, "SHELL");
  Shell shell = make_instruction<Shell>(node);
  for (const Word& word : node.args) shell.argv.push_back(word.text);
  return shell;
}

Command parse_maintainer(const Node& node) {
  require_one(node, "MAINTAINER");
  refuse_flags(node);
  Maintainer maintainer = make_instruction<Maintainer>(node);
  maintainer.author = node.args[0];
  return maintainer;
}

Command parse_onbuild(const Node& node) {
  if (node.trigger.empty()) fail_at(node.span, "ONBUILD requires at least one argument");
  refuse_flags(node);
  const Node& inner = node.trigger[0];
  if (inner.command == "onbuild") fail_at(inner.span, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
  if (inner.command == "maintainer" || inner.command == "from")
    fail_at(inner.span, fmt::format("{} isn't allowed as an ONBUILD trigger", to_upper(inner.command)));
  Onbuild onbuild = make_instruction<Onbuild>(node);
  onbuild.trigger = inner.original;
  for (const Heredoc& heredoc : node.heredocs) onbuild.trigger += "\n" + heredoc.content + heredoc.name;
  return onbuild;
}

using InstructionParser = Command (*)(const Node&);

const std::map<std::string_view, InstructionParser>& instruction_parsers() {
  static const std::map<std::string_view, InstructionParser> parsers = {{"add", parse_add},
                                                                        {"arg", parse_arg},
                                                                        {"cmd", parse_cmd},
                                                                        {"copy", parse_copy},
                                                                        {"entrypoint", parse_entrypoint},
                                                                        {"env", parse_env},
                                                                        {"expose", parse_expose},
                                                                        {"healthcheck", parse_healthcheck},
                                                                        {"label", parse_label},
                                                                        {"maintainer", parse_maintainer},
                                                                        {"onbuild", parse_onbuild},
                                                                        {"run", parse_run},
                                                                        {"shell", parse_shell},
                                                                        {"stopsignal", parse_stop_signal},
                                                                        {"user", parse_user},
                                                                        {"volume", parse_volume},
                                                                        {"workdir", parse_workdir}};
  return parsers;
}

Command parse_command(const Node& node) {
  auto parser = instruction_parsers().find(node.command);
  if (parser != instruction_parsers().end()) return parser->second(node);
  std::vector<std::string> names = {"FROM"};
  for (const auto& [name, unused] : instruction_parsers()) names.push_back(to_upper(name));
  fail_at(node.keyword_span, fmt::format("unknown instruction: {}{}", node.keyword,
                                         did_you_mean(to_upper(node.keyword), names)));
}

// Runs a parser and tells the line of its errors in the text, as BuildKit does.
template <typename F>
auto with_line(const Node& node, F parse) {
  try {
    return parse();
  } catch (Error& error) {
    if (!error.span()) error.set_span(node.span);
    error.add_context(fmt::format("dockerfile parse error on line {}", node.span.line));
    throw;
  }
}

void check_copy_from(const Command& command) {
  const Copy* copy = std::get_if<Copy>(&command);
  if (!copy || !copy->from) return;
  size_t dollar = copy->from->text.find('$');
  if (dollar == std::string::npos || dollar + 1 == copy->from->text.size()) return;
  fail_at(copy->from->span,
          "variable expansion is not supported for --from, define a new stage with FROM using ARG from "
          "global scope as a workaround");
}

}  // namespace

static void read_nodes(const ParsedLines& lines, Dockerfile& result, SourceSpan& at) {
  for (const Node& node : lines.nodes) {
    at = node.span;
    if (node.command == "from") {
      if (result.stages.size() == kMostStages)
        fail_at(node.span, fmt::format("the Dockerfile has more than {} stages", kMostStages));
      result.stages.push_back({with_line(node, [&] { return parse_from(node); }), {}});
      result.stages.back().description =
          description_of(node, result.stages.back().from.name ? result.stages.back().from.name->text : "");
      continue;
    }
    Command command = with_line(node, [&] { return parse_command(node); });
    if (result.stages.empty()) {
      Arg* arg = std::get_if<Arg>(&command);
      if (!arg) fail_at(node.span, "no build stage in current context");
      result.meta_args.push_back(std::move(*arg));
      continue;
    }
    check_copy_from(command);
    result.stages.back().commands.push_back(std::move(command));
  }
  if (result.stages.empty())
    throw Error(ErrorCode::kInvalid, "dockerfile contains no stages to build")
        .with_span(lines.nodes.back().span)
        .with_hint("a stage begins with a line like FROM debian:12");
}

PartialDockerfile parse_dockerfile_until_error(std::string_view text, std::string_view file_name) {
  PartialDockerfile result;
  try {
    ParsedLines lines = parse_lines(text, file_name);
    result.file.directives = std::move(lines.directives);
    result.file.warnings = std::move(lines.warnings);
    read_nodes(lines, result.file, result.error_lines);
  } catch (const Error& error) {
    result.error = error;
  }
  return result;
}

Dockerfile parse_dockerfile(std::string_view text, std::string_view file_name) {
  PartialDockerfile result = parse_dockerfile_until_error(text, file_name);
  if (result.error) throw *result.error;
  return std::move(result.file);
}

Command parse_instruction(std::string_view text, std::string_view origin) {
  ParsedLines lines = parse_lines(text, origin);
  if (lines.nodes.size() != 1) fail_at(lines.nodes[0].span, "onbuild trigger should be a single expression");
  const Node& node = lines.nodes[0];
  if (node.command == "from" || node.command == "maintainer" || node.command == "onbuild")
    fail_at(node.span, fmt::format("{} isn't allowed as an ONBUILD trigger", to_upper(node.command)));
  Command command = with_line(node, [&] { return parse_command(node); });
  check_copy_from(command);
  return command;
}

}  // namespace corten::dockerfile
