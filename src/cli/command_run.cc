// `run` and `exec`: what stands after the image, or the container, belongs to the program.
#include <stdio.h>

#include "base/error.h"
#include "base/strings.h"
#include "cli/commands.h"
#include "cli/container_session.h"
#include "cli/flags.h"

namespace corten::cli {

namespace {

CLI::Option* add_list(CLI::App& app, const char* names, std::vector<std::string>& values, const char* help) {
  return app.add_option(names, values, help)->allow_extra_args(false);
}

// Before the flags are added: -h is the host name's.
void end_flags_at_operands(CLI::App& app) {
  app.set_help_flag("--help", "print this help");
  app.prefix_command();
}

// Gives the operands.
std::vector<std::string> parse_prefix(CLI::App& app, const Arguments& arguments, const char* what) {
  parse_flags(app, arguments);
  std::vector<std::string> words = app.remaining();
  if (!words.empty() && words[0] == "--")
    words.erase(words.begin());
  else if (!words.empty() && words[0].starts_with('-'))
    throw Error(ErrorCode::kUsage, fmt::format("unknown flag: {}", words[0]))
        .with_hint("see 'corten " + app.get_name() + " --help'");
  if (words.empty())
    throw Error(ErrorCode::kUsage, fmt::format("{}: no {} named", app.get_name(), what))
        .with_hint("see 'corten " + app.get_name() + " --help'");
  return words;
}

}  // namespace

int command_run(const Arguments& arguments) {
  CLI::App app("Run a command in a new container: corten run [FLAGS] IMAGE [COMMAND] [ARGUMENT...]", "run");
  end_flags_at_operands(app);
  container::RunOptions options;
  std::string entrypoint, ignored;
  app.add_flag("-d,--detach", options.detach, "run in the background and print the container's id");
  app.add_option("--name", options.name, "name of the container");
  app.add_flag("--rm", options.remove, "remove the container when it has ended");
  add_list(app, "-p,--publish", options.ports,
           "[HOST_IP:]HOST_PORT:CONTAINER_PORT[/tcp|udp]: forward a port");
  app.add_flag("-P,--publish-all", options.publish_all,
               "forward all exposed ports, from ports that the system chooses");
  add_list(app, "-e,--env", options.environment, "NAME=VALUE, or NAME to hand ours on");
  add_list(app, "--env-file", options.environment_files, "a file with such lines");
  app.add_option("-u,--user", options.user, "NAME|UID[:GROUP|GID]");
  app.add_option("-w,--workdir", options.directory, "working directory inside");
  add_list(app, "-v,--volume", options.volumes, "HOST_PATH|NAME:CONTAINER_PATH[:ro]");
  add_list(app, "--tmpfs", options.tmpfs, "PATH[:size=SIZE]: a directory in memory");
  app.add_option("--network,--net", options.network, "host, none or bridge (a network of its own)");
  app.add_option("-h,--hostname", options.hostname, "host name inside");
  add_list(app, "--add-host", options.extra_hosts, "NAME:ADDRESS, a line of /etc/hosts");
  CLI::Option* has_entrypoint = app.add_option("--entrypoint", entrypoint, "in place of the image's");
  app.add_flag("-i,--interactive", options.interactive, "give it our standard input");
  app.add_flag("-t,--tty", options.terminal, "give it our terminal");
  app.add_flag("--read-only", options.read_only, "nothing but volumes can be written");
  add_list(app, "--ulimit", options.ulimits, "NAME=SOFT[:HARD]");
  add_list(app, "-l,--label", options.labels, "NAME=VALUE");
  app.add_option("--shm-size", options.shm_size, "size of /dev/shm (64m)");
  app.add_option("--stop-signal", options.stop_signal, "what 'stop' sends (SIGTERM)");
  app.add_option("--stop-timeout", options.stop_timeout_s, "seconds from there to SIGKILL (10)");
  app.add_flag("--no-healthcheck", options.no_healthcheck, "do not run the image's health check");
  app.add_option("--health-cmd", options.health_command, "the command of the health check");
  app.add_option("--health-interval", options.health_interval, "time between two checks (30s)");
  app.add_option("--health-timeout", options.health_timeout, "a check that takes longer has failed (30s)");
  app.add_option("--health-start-period", options.health_start_period,
                 "failures within it do not count (0s)");
  app.add_option("--health-start-interval", options.health_start_interval,
                 "time between two checks within it (5s)");
  app.add_option("--health-retries", options.health_retries, "so many failures in a row are unhealthy (3)");
  app.add_option("--cidfile", options.id_file, "write the container's id there");
  app.add_option("--platform", options.platform, "which image of an index (this machine's)");
  app.add_option("--pull", ignored, "")->group("");
  std::vector<std::string> words = parse_prefix(app, arguments, "image");
  if (has_entrypoint->count() > 0) options.entrypoint = entrypoint;
  options.image = words[0];
  options.command.assign(words.begin() + 1, words.end());
  ContainerSession session;
  return container::run_command(options, session.context());
}

int command_exec(const Arguments& arguments) {
  CLI::App app("Run a command in a running container: corten exec [FLAGS] CONTAINER COMMAND [ARGUMENT...]",
               "exec");
  end_flags_at_operands(app);
  container::ExecOptions options;
  add_list(app, "-e,--env", options.environment, "NAME=VALUE, or NAME to hand ours on");
  app.add_option("-u,--user", options.user, "NAME|UID[:GROUP|GID] (the container's)");
  app.add_option("-w,--workdir", options.directory, "working directory inside (the container's)");
  app.add_flag("-i,--interactive", options.interactive, "give it our standard input");
  app.add_flag("-t,--tty", options.terminal, "give it our terminal");
  std::vector<std::string> words = parse_prefix(app, arguments, "container");
  if (words.size() < 2)
    throw Error(ErrorCode::kUsage, "exec: no command named")
        .with_hint("for example: corten exec -it " + words[0] + " sh");
  options.container = words[0];
  options.command.assign(words.begin() + 1, words.end());
  ContainerSession session;
  return container::exec_command(options, session.context());
}

}  // namespace corten::cli
