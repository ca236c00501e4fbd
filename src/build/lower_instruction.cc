#include <algorithm>
#include <set>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "build/lower.h"
#include "dockerfile/script.h"
#include "http/url.h"
#include "source/git_reference.h"

namespace corten::build {

namespace {

// Go's %q of a list, as BuildKit prints exec forms: ["/bin/sh" "-c" "x"].
std::string quoted_list(const std::vector<std::string>& args) {
  std::string text = "[";
  for (size_t i = 0; i < args.size(); i++) text += (i ? " " : "") + quote(args[i]);
  return text + "]";
}

void set_entry(std::vector<std::pair<std::string, std::string>>& entries, std::string key,
               std::string value) {
  entries.emplace_back(std::move(key), std::move(value));
}

}  // namespace

std::string Lowering::expand(const StageInProgress& s, const dockerfile::Word& word) {
  try {
    std::string value = dockerfile::process_word(word.text, s.environment, {.escape = s.escape});
    budget_.take(value.size());
    return value;
  } catch (Error& error) {
    if (!error.span()) error.set_span(word.span);
    throw;
  }
}

void Lowering::add_history(StageInProgress& s, std::string created_by, bool is_layer) {
  budget_.take(created_by.size());
  oci::History entry;
  entry.created_by = std::move(created_by);
  entry.comment = "buildkit.dockerfile.v0";
  entry.empty_layer = !is_layer;
  s.plan.config.history.push_back(std::move(entry));
}

std::vector<std::string> Lowering::command_argv(const StageInProgress& s,
                                                const dockerfile::CommandLine& command) const {
  if (!command.is_shell) return command.args;
  std::vector<std::string> argv = s.plan.config.config.shell;
  if (argv.empty()) argv = {"/bin/sh", "-c"};
  argv.push_back(command.args.empty() ? "" : command.args[0]);
  return argv;
}

void Lowering::apply(StageInProgress& s, const dockerfile::Command& command) {
  oci::RunConfig& config = s.plan.config.config;
  auto visit = [&](const auto& c) {
    using T = std::decay_t<decltype(c)>;
    if constexpr (std::is_same_v<T, dockerfile::Run>) {
      run_instruction(s, c);
    } else if constexpr (std::is_same_v<T, dockerfile::Copy>) {
      copy_instruction(s, c, &c, nullptr);
    } else if constexpr (std::is_same_v<T, dockerfile::Add>) {
      copy_instruction(s, c, nullptr, &c);
    } else if constexpr (std::is_same_v<T, dockerfile::Workdir>) {
      workdir_instruction(s, c);
    } else if constexpr (std::is_same_v<T, dockerfile::Arg>) {
      arg_instruction(s, c);
    } else if constexpr (std::is_same_v<T, dockerfile::Expose>) {
      expose_instruction(s, c);
    } else if constexpr (std::is_same_v<T, dockerfile::Env> || std::is_same_v<T, dockerfile::Label>) {
      // All values of a line are expanded with what was set before it.
      std::vector<std::pair<std::string, std::string>> entries;
      for (const dockerfile::KeyValue& entry : c.entries)
        set_entry(entries, expand(s, entry.key), expand(s, entry.value));
      std::string text(dockerfile::keyword_of(command));
      for (const auto& [key, value] : entries) {
        text += " " + key + "=" + value;
        if constexpr (std::is_same_v<T, dockerfile::Env>) {
          config.set_env(key, value);
          s.environment.set(key, value);
        } else {
          config.labels[key] = value;
        }
      }
      add_history(s, text, false);
    } else if constexpr (std::is_same_v<T, dockerfile::Cmd>) {
      config.cmd = command_argv(s, c.command);
      config.args_escaped = true;
      s.has_cmd = true;
      add_history(s, "CMD " + quoted_list(config.cmd), false);
    } else if constexpr (std::is_same_v<T, dockerfile::Entrypoint>) {
      config.entrypoint = command_argv(s, c.command);
      if (!s.has_cmd) config.cmd.clear();
      add_history(s, "ENTRYPOINT " + quoted_list(config.entrypoint), false);
    } else if constexpr (std::is_same_v<T, dockerfile::Healthcheck>) {
      oci::Healthcheck check{c.test,   c.interval_ns, c.timeout_ns, c.start_period_ns, c.start_interval_ns,
                             c.retries};
      config.healthcheck = check;
      add_history(
          s,
          fmt::format(
              "HEALTHCHECK {{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
              join(c.test, " "), format_duration(c.interval_ns), format_duration(c.timeout_ns),
              format_duration(c.start_period_ns), format_duration(c.start_interval_ns), c.retries),
          false);
    } else if constexpr (std::is_same_v<T, dockerfile::Volume>) {
      std::vector<std::string> paths;
      for (const dockerfile::Word& word : c.paths) {
        paths.push_back(expand(s, word));
        if (paths.back().empty()) fail(ErrorCode::kInvalid, "VOLUME specified can not be an empty string");
        config.volumes.insert(paths.back());
      }
      add_history(s, "VOLUME [" + join(paths, " ") + "]", false);
    } else if constexpr (std::is_same_v<T, dockerfile::User>) {
      config.user = expand(s, c.user);
      add_history(s, "USER " + config.user, false);
    } else if constexpr (std::is_same_v<T, dockerfile::StopSignal>) {
      std::string signal = expand(s, c.signal);
      dockerfile::check_stop_signal(signal);
      config.stop_signal = signal;
      add_history(s, "STOPSIGNAL " + signal, false);
    } else if constexpr (std::is_same_v<T, dockerfile::Shell>) {
      config.shell = c.argv;
      add_history(s, "SHELL [" + join(c.argv, " ") + "]", false);
    } else if constexpr (std::is_same_v<T, dockerfile::Maintainer>) {
      s.plan.config.author = c.author.text;
      add_history(s, "MAINTAINER " + c.author.text, false);
    } else {
      static_assert(std::is_same_v<T, dockerfile::Onbuild>);
      s.plan.on_build.push_back(c.trigger);
    }
  };
  std::visit(visit, command);
}

void Lowering::arg_instruction(StageInProgress& s, const dockerfile::Arg& arg) {
  std::string text = "ARG";
  for (const dockerfile::ArgDeclaration& entry : arg.entries) {
    std::optional<std::string> value;
    if (auto given = request_.build_args.find(entry.name); given != request_.build_args.end())
      value = given->second;
    else if (entry.value)
      value = expand(s, *entry.value);
    else if (auto global = global_args_.find(entry.name); global != global_args_.end())
      value = global->second;
    s.environment.declare_arg(entry.name, value);
    text += " " + entry.name + (value ? "=" + *value : "");
  }
  add_history(s, text, false);
}

void Lowering::expose_instruction(StageInProgress& s, const dockerfile::Expose& expose) {
  // BuildKit sorts the words as they are written, before they are expanded, and lists what they give.
  std::vector<dockerfile::Word> words = expose.ports;
  std::sort(words.begin(), words.end(),
            [](const dockerfile::Word& a, const dockerfile::Word& b) { return a.text < b.text; });
  std::vector<std::string> listed;
  for (const dockerfile::Word& word : words)
    for (const std::string& text : dockerfile::process_words(word.text, s.environment, {.escape = s.escape}))
      for (const std::string& key : dockerfile::parse_port_spec(text).config_keys()) listed.push_back(key);
  s.plan.config.config.exposed_ports.insert(listed.begin(), listed.end());
  add_history(s, "EXPOSE [" + join(listed, " ") + "]", false);
}

void Lowering::workdir_instruction(StageInProgress& s, const dockerfile::Workdir& workdir) {
  oci::RunConfig& config = s.plan.config.config;
  RootfsPath path = RootfsPath::join(RootfsPath(config.working_dir), expand(s, workdir.path));
  config.working_dir = path.absolute();
  if (!path.is_root()) {
    Step step;
    step.span = workdir.span;
    step.base = s.here;
    step.work = WorkdirStep{path, config.user};
    s.here = add_step(s, std::move(step), "WORKDIR " + path.absolute());
    s.plan.layer_steps.push_back(s.here);
  }
  add_history(s, "WORKDIR " + path.absolute(), !path.is_root());
}

MountUse Lowering::mount_use(StageInProgress& s, const dockerfile::Word& csv) {
  using dockerfile::MountType;
  MountUse use;
  use.mount = dockerfile::parse_mount(csv, [&](std::string_view text) {
    return dockerfile::process_word(text, s.environment, {.escape = s.escape});
  });
  dockerfile::Mount& mount = use.mount;
  if (mount.from)
    use.from = tree_by_name(s, *mount.from, false, mount.span, mount.target);
  else if (mount.type == MountType::kBind)
    use.from = {TreeRef::Kind::kContext, kNoStep, ""};
  if (mount.type == MountType::kCache) {
    std::string id = mount.id.empty() ? clean_path(mount.target) : mount.id;
    use.buildkit_id = "/" + id;
    if (auto space = request_.build_args.find("BUILDKIT_CACHE_MOUNT_NS");
        space != request_.build_args.end() && !space->second.empty())
      id = space->second + "/" + id, use.buildkit_id = id;
    use.cache_id = id;
    // The same id with another owner, mode or content to start from is another cache, as with BuildKit.
    if (mount.uid || mount.gid || mount.mode)
      use.cache_id += fmt::format(" owner={}:{} mode={:o}", mount.uid.value_or(0), mount.gid.value_or(0),
                                  mount.mode.value_or(0755));
    if (mount.from) use.cache_id += " from=" + *mount.from;
  }
  RootfsPath target = RootfsPath::join(RootfsPath(s.plan.config.config.working_dir), mount.target);
  bool needs_target = mount.type != MountType::kSecret && mount.type != MountType::kSsh;
  if (needs_target && (mount.target.empty() || target.is_root()))
    throw Error(ErrorCode::kInvalid, "invalid mount target \"/\"").with_span(mount.span);
  if (!mount.target.empty()) mount.target = target.absolute();
  return use;
}

// Before any step starts: a build must not find out at its end that its last stage cannot be run.
void Lowering::check_runs_here(const StageInProgress& s, const dockerfile::Run& run) {
  if (!request_.no_run.empty())
    throw Error(ErrorCode::kUnsupported, "RUN cannot be executed here: " + request_.no_run)
        .with_hint(request_.no_run_hint)
        .with_span(run.span);
  const oci::Platform& platform = s.plan.config.platform;
  const oci::Platform& here = request_.build_platform;
  if (platform.architecture.empty() || (platform.architecture == here.architecture && platform.os == here.os))
    return;
  std::string why = platform.os != here.os ? "another system"
                    : request_.why_not_run ? request_.why_not_run(platform)
                                           : "no emulation is set up";
  if (why.empty()) return;
  throw Error(ErrorCode::kUnsupported, fmt::format("stage {}, RUN for {} on a machine that is {}: {}",
                                                   s.plan.name, platform.format(), here.format(), why))
      .with_hint(
          "build it natively and cross-compile: FROM --platform=$BUILDPLATFORM; or let the kernel emulate: "
          "apt-get install qemu-user-static binfmt-support")
      .with_span(run.span);
}

void Lowering::run_instruction(StageInProgress& s, const dockerfile::Run& run) {
  const oci::RunConfig& config = s.plan.config.config;
  if (run.security == dockerfile::RunSecurity::kInsecure && !request_.allows_insecure)
    throw Error(ErrorCode::kPermission, "security.insecure is not allowed")
        .with_hint(
            "the step would run without a filter and with all capabilities; --allow security.insecure lets "
            "it")
        .with_span(run.span);
  if (!run.devices.empty()) fail(ErrorCode::kUnsupported, "RUN --device is not executed yet");
  check_runs_here(s, run);

  RunStep step;
  step.platform = s.plan.config.platform;
  step.insecure = run.security == dockerfile::RunSecurity::kInsecure;
  std::string summary = run.original;
  if (run.command.is_shell && !run.heredocs.empty()) {
    dockerfile::RunScript script = dockerfile::run_script(run);
    dockerfile::CommandLine command;
    command.args = {script.text};
    if (script.is_file) {
      step.scripts.push_back({script.file_name, script.text});
      command.args = {"/dev/pipes/" + script.file_name};
    }
    step.argv = command_argv(s, command);
    summary = "RUN " + script.summary;
  } else {
    step.argv = command_argv(s, run.command);
    if (step.argv.empty()) fail(ErrorCode::kInvalid, "RUN requires at least one argument");
  }
  for (const dockerfile::Word& csv : run.mounts) step.mounts.push_back(mount_use(s, csv));

  // Proxies are seen by the step under both spellings; what no ARG declares is no part of what it is.
  StageEnvironment seen = s.environment;
  if (!seen.get("PATH")) seen.set("PATH", std::string(kDefaultPath));
  step.key_environment = seen.list();
  step.environment_order = seen.order();
  for (const std::string& entry : step.key_environment) budget_.take(2 * entry.size());
  for (const auto& [name, value] : request_.proxies) {
    seen.set(to_upper(name), value);
    seen.set(to_lower(name), value);
  }
  step.environment = seen.list();
  step.has_source_date_epoch = seen.get("SOURCE_DATE_EPOCH").has_value();
  step.user = config.user;
  step.directory = RootfsPath(config.working_dir);
  if (auto name = request_.build_args.find("BUILDKIT_SANDBOX_HOSTNAME"); name != request_.build_args.end())
    step.hostname = name->second;
  switch (run.network) {
    case dockerfile::RunNetwork::kNone:
      step.network = "none";
      break;
    case dockerfile::RunNetwork::kHost:
      step.network = "host";
      break;
    case dockerfile::RunNetwork::kDefault:
      step.network = "default";
      break;
    case dockerfile::RunNetwork::kUnset:
      step.network = request_.network;
      break;
  }

  std::string history = "RUN ";
  std::vector<std::string> args = s.environment.args();
  if (!args.empty()) history += fmt::format("|{} {} ", args.size(), join(args, " "));
  history += join(step.argv, " ") + " # buildkit";

  Step whole;
  whole.span = run.span;
  whole.base = s.here;
  whole.work = std::move(step);
  s.here = add_step(s, std::move(whole), summary);
  s.plan.layer_steps.push_back(s.here);
  s.plan.has_run = true;
  add_history(s, history, true);
}

// Nothing for a path of the context. Section 1.10, "ADD specifics".
std::optional<RemoteSource> Lowering::remote_source(const StageInProgress& s, const std::string& source,
                                                    const SourceSpan& span, const dockerfile::Add* add) {
  auto refuse = [&](std::string text, const SourceSpan& where) -> Error {
    return Error(ErrorCode::kInvalid, std::move(text)).with_span(where);
  };
  std::optional<source::GitReference> git;
  try {
    git = source::parse_git_reference(source);
  } catch (Error& error) {
    error.set_span(span);
    throw;
  }
  if (git && git->like_local) git.reset();
  bool is_url = !git && (source.starts_with("http://") || source.starts_with("https://"));
  if (!add && git) throw refuse("source can't be a git ref for COPY", span);
  if (!add && is_url) throw refuse("source can't be a URL for COPY", span);
  std::string checksum = add && add->checksum ? expand(s, *add->checksum) : "";
  if (!git && !is_url) {
    if (!checksum.empty()) throw refuse("checksum requires HTTP(S) or Git sources", add->checksum->span);
    return std::nullopt;
  }
  RemoteSource remote;
  remote.address = source;
  remote.is_git = git.has_value();
  remote.keep_git_dir = add->keep_git_dir;
  remote.checksum = checksum;
  if (git && git->keep_git_dir && add->keep_git_dir && *git->keep_git_dir != *add->keep_git_dir)
    throw refuse("inconsistent keep-git-dir configuration", span);
  if (git && !checksum.empty()) {
    if (!git->checksum.empty() && git->checksum != to_lower(checksum))
      throw refuse(fmt::format("checksum mismatch {} != {}", quote(checksum), quote(git->checksum)),
                   add->checksum->span);
    if (checksum.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
      throw refuse(fmt::format("invalid checksum {} for Git URL, expected hex commit hash", checksum),
                   add->checksum->span);
  }
  if (is_url && !checksum.empty()) {
    std::string algorithm = checksum.substr(0, checksum.find(':'));
    if (checksum.find(':') == std::string::npos)
      throw refuse("invalid checksum digest format", add->checksum->span);
    if (algorithm != "sha256")
      throw refuse(fmt::format("unsupported digest algorithm {}", quote(algorithm)), add->checksum->span);
    if (checksum.size() != 71) throw refuse("invalid checksum digest length", add->checksum->span);
    if (!Digest::try_parse(checksum)) throw refuse("invalid checksum digest format", add->checksum->span);
  }
  return remote;
}

void Lowering::copy_instruction(StageInProgress& s, const dockerfile::Transfer& transfer,
                                const dockerfile::Copy* copy, const dockerfile::Add* add) {
  CopyStep step;
  step.is_add = add != nullptr;
  step.link = transfer.link;
  step.parents = copy && copy->parents;
  for (const dockerfile::Word& exclude : transfer.excludes) step.excludes.push_back(exclude.text);
  std::string history = add ? "ADD" : "COPY";
  if (step.parents) history += " --parents";
  if (transfer.chown) {
    std::string owner = expand(s, *transfer.chown);
    if (!owner.empty()) step.owner = owner, history += " --chown=" + owner;
  }
  if (transfer.chmod) {
    std::string mode = expand(s, *transfer.chmod);
    try {
      step.mode = dockerfile::ModeChange::parse(mode);
    } catch (Error& error) {
      error.set_span(transfer.chmod->span);
      throw;
    }
    step.has_mode = !mode.empty();
    if (step.has_mode) history += " --chmod=" + mode;
  }
  if (add && add->checksum && transfer.sources.size() + transfer.heredocs.size() > 1)
    throw Error(ErrorCode::kInvalid, "checksum can't be specified for multiple sources")
        .with_span(add->checksum->span);
  for (const dockerfile::Word& word : transfer.sources) {
    std::string source = expand(s, word);
    if (auto remote = remote_source(s, source, word.span, add)) {
      source = http::without_credentials(source);
      step.remotes.emplace(step.sources.size(), std::move(*remote));
    }
    history += " " + source;
    step.sources.push_back(std::move(source));
  }
  if (add) step.unpack = add->unpack;
  for (const dockerfile::Heredoc& heredoc : transfer.heredocs) {
    std::string body = heredoc.chomped_content();
    step.files.push_back(
        {heredoc.name, heredoc.expand ? dockerfile::expand_heredoc(body, s.environment) : body});
    history += " <<" + heredoc.name;
  }
  std::string destination = expand(s, transfer.destination);
  history += " " + destination + " # buildkit";
  // A trailing slash (or a dot) says "a directory"; joining must not lose it.
  bool wants_directory = destination.empty() || destination == "." || destination == ".." ||
                         destination.ends_with('/') || destination.ends_with("/.");
  std::string absolute =
      RootfsPath::join(RootfsPath(s.plan.config.config.working_dir), destination).absolute();
  step.destination = wants_directory && absolute != "/" ? absolute + "/" : absolute;

  if (copy && copy->from) {
    if (copy->from->text.find('$') != std::string::npos)
      throw Error(ErrorCode::kInvalid,
                  "variable expansion is not supported for --from, define a new stage with FROM using ARG "
                  "from global scope as a workaround")
          .with_span(copy->from->span);
    step.from = tree_by_name(s, copy->from->text, true, copy->from->span, "copy");
  } else if (step.sources.size() > step.remotes.size()) {
    step.from = {TreeRef::Kind::kContext, kNoStep, ""};
  }

  Step whole;
  whole.span = transfer.span;
  whole.base = s.here;
  whole.work = std::move(step);
  s.here = add_step(s, std::move(whole),
                    (transfer.link ? "LINK " : "") + http::without_credentials(transfer.original));
  s.plan.layer_steps.push_back(s.here);
  add_history(s, history, true);
}

}  // namespace corten::build
