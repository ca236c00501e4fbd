// `inspect` of a container, in Docker's shape as far as there is something to say; and what a failing health
// check needs.
#include <fmt/core.h>

#include "base/strings.h"
#include "container/commands.h"
#include "container/log.h"

namespace corten::container {

namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr const char* kNever = "0001-01-01T00:00:00Z";

std::string time_text(int64_t ns) {
  return ns == 0 ? kNever : format_rfc3339(ns / kSecond, ns % kSecond);
}

Json state_json(const Container& container, Status status, const std::optional<State>& state) {
  auto exit = status == Status::kExited ? container.exit() : std::nullopt;
  Json json = Json::object({{"Status", status_name(status)},
                            {"Running", status == Status::kRunning},
                            {"Paused", false},
                            {"Restarting", false},
                            {"OOMKilled", false},
                            {"Dead", false},
                            {"Pid", status == Status::kRunning ? state->init.pid : 0},
                            {"ExitCode", exit ? exit->code : 0},
                            {"Error", status == Status::kUnknown ? "its monitor is gone"
                                      : exit                     ? exit->error
                                                                 : ""},
                            {"StartedAt", time_text(state ? state->started_ns : 0)},
                            {"FinishedAt", time_text(exit ? exit->finished_ns : 0)}});
  if (status == Status::kRunning && HealthMachine::has_probe(container.spec().health))
    json.set("Health", to_json(container.health()));
  return json;
}

Json set_of(const std::vector<std::string>& names) {
  Json json = Json::object();
  for (const std::string& name : names) json.set(name, Json::object());
  return json;
}

Json config_json(const ContainerSpec& spec) {
  Json labels = Json::object();
  for (const auto& [name, value] : spec.labels) labels.set(name, value);
  std::vector<std::string> volumes;
  for (const Volume& volume : spec.volumes)
    if (volume.kind == Volume::Kind::kAnonymous) volumes.push_back(volume.target.absolute());
  Json json = Json::object({{"Hostname", spec.hostname},
                            {"User", spec.user},
                            {"AttachStdin", spec.interactive},
                            {"AttachStdout", !spec.detached},
                            {"AttachStderr", !spec.detached},
                            {"ExposedPorts", set_of(spec.exposed_ports)},
                            {"Tty", spec.terminal},
                            {"OpenStdin", spec.interactive},
                            {"Env", spec.environment},
                            {"Cmd", spec.command},
                            {"Image", spec.image_name},
                            {"Volumes", set_of(volumes)},
                            {"WorkingDir", spec.directory},
                            {"Entrypoint", spec.entrypoint.empty() ? Json() : Json(spec.entrypoint)},
                            {"Labels", labels},
                            {"StopSignal", std::to_string(spec.stop_signal)},
                            {"StopTimeout", spec.stop_timeout_s}});
  if (spec.health)
    json.set("Healthcheck", Json::object({{"Test", spec.health->test},
                                          {"Interval", spec.health->interval_ns},
                                          {"Timeout", spec.health->timeout_ns},
                                          {"StartPeriod", spec.health->start_period_ns},
                                          {"StartInterval", spec.health->start_interval_ns},
                                          {"Retries", spec.health->retries}}));
  return json;
}

// "8000/tcp": [{"HostIp": ..., "HostPort": ...}]
Json port_map(const std::vector<Port>& ports, const std::vector<std::string>& exposed) {
  Json json = Json::object();
  for (const std::string& name : exposed) json.set(name, Json());
  for (const Port& port : ports)
    json[fmt::format("{}/{}", port.container, port.protocol)].push_back(
        Json::object({{"HostIp", port.host_ip}, {"HostPort", std::to_string(port.host)}}));
  return json;
}

Json mounts_json(const Container& container, store::Store& store) {
  Json json = Json::array();
  for (const Volume& volume : container.spec().volumes) {
    bool is_volume = volume.kind == Volume::Kind::kNamed || volume.kind == Volume::Kind::kAnonymous;
    std::string source = volume.source;
    if (volume.kind == Volume::Kind::kNamed) source = store.path() + "/volumes/" + volume.source;
    if (volume.kind == Volume::Kind::kAnonymous)
      source = (container.directory() / "volumes" / volume.source).value;
    Json mount = Json::object({{"Type", is_volume                             ? "volume"
                                        : volume.kind == Volume::Kind::kTmpfs ? "tmpfs"
                                                                              : "bind"},
                               {"Source", source},
                               {"Destination", volume.target.absolute()},
                               {"Mode", volume.read_only ? "ro" : ""},
                               {"RW", !volume.read_only}});
    if (volume.kind == Volume::Kind::kNamed) mount.set("Name", volume.source);
    json.push_back(std::move(mount));
  }
  return json;
}

}  // namespace

Json inspect_container(const Container& container, store::Store& store) {
  const ContainerSpec& spec = container.spec();
  Status status = container.status();
  std::optional<State> state = container.state();
  std::vector<std::string> argv = spec.argv(), binds;
  for (const Volume& volume : spec.volumes)
    if (volume.kind == Volume::Kind::kBind || volume.kind == Volume::Kind::kNamed)
      binds.push_back(volume.source + ":" + volume.target.absolute() + (volume.read_only ? ":ro" : ""));
  std::string network = state ? state->network : spec.network;
  Json host = Json::object({{"Binds", binds},
                            {"NetworkMode", network},
                            {"PortBindings", port_map(spec.ports, {})},
                            {"AutoRemove", spec.remove},
                            {"ReadonlyRootfs", spec.read_only},
                            {"ExtraHosts", spec.extra_hosts},
                            {"ShmSize", spec.shm_bytes},
                            {"Privileged", false},
                            {"RestartPolicy", Json::object({{"Name", "no"}, {"MaximumRetryCount", 0}})}});
  bool runs = status == Status::kRunning;
  Json settings =
      Json::object({{"Ports", runs ? port_map(state->ports, spec.exposed_ports) : Json::object()},
                    {"Networks", Json::object({{network.empty() ? "bridge" : network, Json::object()}})},
                    {"Outward", state ? state->outward : ""}});
  std::vector<std::string> args(argv.begin() + (argv.empty() ? 0 : 1), argv.end());
  return Json::object({{"Id", spec.id},
                       {"Created", time_text(spec.created_ns)},
                       {"Path", argv.empty() ? "" : argv[0]},
                       {"Args", args},
                       {"State", state_json(container, status, state)},
                       {"Image", spec.image.to_string()},
                       {"LogPath", spec.detached ? container.log_path().value : ""},
                       {"Name", "/" + spec.name},
                       {"RestartCount", 0},
                       {"Driver", "overlay"},
                       {"Platform", "linux"},
                       {"HostConfig", host},
                       {"Mounts", mounts_json(container, store)},
                       {"Config", config_json(spec)},
                       {"NetworkSettings", settings}});
}

std::string explain_health(const Container& container) {
  const ContainerSpec& spec = container.spec();
  std::string text;
  if (HealthMachine::has_probe(spec.health))
    text +=
        fmt::format("  health check: {}\n", printable(join(std::span(spec.health->test).subspan(1), " ")));
  Health health = container.health();
  if (!health.log.empty()) {
    const ProbeResult& last = health.log.back();
    std::string output = printable(trim(last.output));
    text +=
        fmt::format("  last probe:   exit code {}{}\n", last.exit_code,
                    output.empty() ? ", no output" : ": " + replace_all(output, "\n", "\n                "));
    text += fmt::format("  failed:       {} in a row\n", health.failing_streak);
  }
  if (auto exit = container.exit())
    text +=
        fmt::format("  it exited:    code {}{}\n", exit->code, exit->error.empty() ? "" : ", " + exit->error);
  if (spec.detached) {
    constexpr uint64_t kLines = 10;
    std::string log;
    read_log(container.log_path(), {.tail = kLines},
             [&](int, std::string_view line) { log += "    " + printable(line); });
    text += log.empty() ? "  its log is empty\n"
                        : "  the end of its log:\n" + log + (log.ends_with('\n') ? "" : "\n");
  }
  text +=
      fmt::format("hint: try the check by hand: corten exec {} {}\n", spec.name,
                  HealthMachine::has_probe(spec.health) && spec.health->test[0] == "CMD-SHELL"
                      ? "sh -c " + quote(spec.health->test[1])
                  : HealthMachine::has_probe(spec.health) ? join(std::span(spec.health->test).subspan(1), " ")
                                                          : "sh");
  text +=
      "hint: does the service listen on the port that is asked, and does the image have the program that "
      "asks? 'corten inspect' shows the last five probes\n";
  return text;
}

}  // namespace corten::container
