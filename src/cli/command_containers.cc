// `ps`, `logs`, `stop`, `kill`, `rm`, `wait`, `port`: flags of the commands on containers that exist.
#include "cli/commands.h"
#include "cli/container_session.h"
#include "cli/flags.h"

namespace corten::cli {

int command_ps(const Arguments& arguments) {
  CLI::App app("List containers: those that run, or all.", "ps");
  container::PsOptions options;
  app.add_flag("-a,--all", options.all, "also those that have ended");
  app.add_flag("-q,--quiet", options.quiet, "ids alone");
  app.add_flag("--no-trunc", options.no_trunc, "whole ids and commands");
  app.add_option("--format", options.format,
                 "table, json (one object a line) or a template: '{{.Names}} {{.Status}}'");
  app.add_option("-f,--filter", options.filters, "name=, id=, status=, health=, label=, ancestor=")
      ->allow_extra_args(false);
  parse_flags(app, arguments);
  ContainerSession session;
  return container::ps_command(options, session.context());
}

int command_logs(const Arguments& arguments) {
  CLI::App app("Show what a detached container wrote.", "logs");
  container::LogsOptions options;
  app.add_option("container", options.container, "name or id")->required();
  app.add_flag("-f,--follow", options.follow, "go on until the container ends");
  app.add_flag("-t,--timestamps", options.timestamps, "with the time of each line");
  app.add_option("-n,--tail", options.tail, "only so many last lines");
  app.add_option("--since", options.since,
                 "only from this time on (2026-01-02T15:04:05Z, or 10m for ten minutes ago)");
  app.add_option("--until", options.until, "only up to this time");
  parse_flags(app, arguments);
  ContainerSession session;
  return container::logs_command(options, session.context());
}

int command_stop(const Arguments& arguments) {
  CLI::App app("Stop containers: their stop signal, then SIGKILL.", "stop");
  container::StopOptions options;
  app.add_option("containers", options.containers, "names or ids")->required();
  app.add_option("-t,--time,--timeout", options.timeout_s,
                 "seconds from the signal to SIGKILL (the container's, or 10); -1 waits for ever");
  app.add_option("-s,--signal", options.signal, "in place of the container's stop signal");
  parse_flags(app, arguments);
  ContainerSession session;
  return container::stop_command(options, session.context());
}

int command_kill(const Arguments& arguments) {
  CLI::App app("Send a signal to containers.", "kill");
  container::KillOptions options;
  app.add_option("containers", options.containers, "names or ids")->required();
  app.add_option("-s,--signal", options.signal, "by name or number (KILL)");
  parse_flags(app, arguments);
  ContainerSession session;
  return container::kill_command(options, session.context());
}

int command_rm(const Arguments& arguments) {
  CLI::App app("Remove containers, with their anonymous volumes.", "rm");
  container::RemoveOptions options;
  bool volumes = false;
  app.add_option("containers", options.containers, "names or ids")->required();
  app.add_flag("-f,--force", options.force, "also when it runs; no error when there is none");
  app.add_flag("-v,--volumes", volumes, "")->group("");  // anonymous volumes always go
  parse_flags(app, arguments);
  ContainerSession session;
  return container::rm_command(options, session.context());
}

int command_wait(const Arguments& arguments) {
  CLI::App app("Wait until containers end, and print their exit codes; or until they are healthy.", "wait");
  container::WaitOptions options;
  app.add_option("containers", options.containers, "names or ids")->required();
  app.add_option("--condition", options.condition,
                 "exited, running or healthy (then 1 and the reason when it is not)");
  app.add_option("--timeout", options.timeout_s, "seconds");
  parse_flags(app, arguments);
  ContainerSession session;
  return container::wait_command(options, session.context());
}

int command_port(const Arguments& arguments) {
  CLI::App app("Show where the ports of a container are forwarded from.", "port");
  std::string name, port;
  app.add_option("container", name, "name or id")->required();
  app.add_option("port", port, "PORT[/tcp|udp]: only this");
  parse_flags(app, arguments);
  ContainerSession session;
  return container::port_command(name, port, session.context());
}

}  // namespace corten::cli
