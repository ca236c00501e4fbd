#include "container/spec.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/signals.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "sandbox/ulimit.h"

namespace corten::container {

namespace {

constexpr const char* kDefaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// NAME alone is taken from our environment, or left out when we have none.
void add_variable(oci::RunConfig& config, std::string_view text) {
  size_t equals = text.find('=');
  std::string name(text.substr(0, equals));
  if (name.empty()) fail(ErrorCode::kUsage, "invalid environment variable: {}", quote(text));
  if (equals != text.npos)
    config.set_env(name, text.substr(equals + 1));
  else if (const char* value = getenv(name.c_str()))
    config.set_env(name, value);
}

std::vector<std::string> environment_of(const RunOptions& options, const oci::RunConfig& image) {
  oci::RunConfig merged;
  merged.env = image.env;
  for (const std::string& file : options.environment_files)
    for (const std::string& line : split(read_file(file, 16 << 20), '\n')) {
      std::string_view text = line;
      if (text.ends_with('\r')) text.remove_suffix(1);
      while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
      if (!text.empty() && text[0] != '#') add_variable(merged, text);
    }
  for (const std::string& text : options.environment) add_variable(merged, text);
  if (!merged.env_value("PATH")) merged.env.insert(merged.env.begin(), kDefaultPath);
  return merged.env;
}

int64_t duration_option(const std::string& text, std::string_view flag) {
  auto ns = parse_duration(text);
  if (!ns || *ns < 0)
    throw Error(ErrorCode::kUsage, fmt::format("{}: invalid duration {}", flag, quote(text)))
        .with_hint("for example 500ms, 30s, 1m30s");
  return *ns;
}

std::optional<oci::Healthcheck> health_of(const RunOptions& options, const oci::RunConfig& image) {
  std::optional<oci::Healthcheck> health = image.healthcheck;
  bool has_options = !options.health_command.empty() || !options.health_interval.empty() ||
                     !options.health_timeout.empty() || !options.health_start_period.empty() ||
                     !options.health_start_interval.empty() || options.health_retries;
  if (options.no_healthcheck) {
    if (has_options) fail(ErrorCode::kUsage, "--no-healthcheck conflicts with --health-* options");
    health.emplace();
    health->test = {"NONE"};
    return health;
  }
  if (!has_options) return health;
  if (!health) health.emplace();
  if (!options.health_command.empty()) health->test = {"CMD-SHELL", options.health_command};
  if (!options.health_interval.empty())
    health->interval_ns = duration_option(options.health_interval, "--health-interval");
  if (!options.health_timeout.empty())
    health->timeout_ns = duration_option(options.health_timeout, "--health-timeout");
  if (!options.health_start_period.empty())
    health->start_period_ns = duration_option(options.health_start_period, "--health-start-period");
  if (!options.health_start_interval.empty())
    health->start_interval_ns = duration_option(options.health_start_interval, "--health-start-interval");
  if (options.health_retries) {
    if (*options.health_retries < 0) fail(ErrorCode::kUsage, "--health-retries cannot be negative");
    health->retries = *options.health_retries;
  }
  return health;
}

std::vector<Volume> volumes_of(const RunOptions& options, const oci::RunConfig& image) {
  std::vector<Volume> volumes;
  auto add = [&](Volume volume, bool is_default) {
    auto same = std::find_if(volumes.begin(), volumes.end(),
                             [&](const Volume& other) { return other.target == volume.target; });
    if (same == volumes.end())
      volumes.push_back(std::move(volume));
    else if (!is_default)
      fail(ErrorCode::kUsage, "duplicate mount point: {}", volume.target.absolute());
  };
  for (const std::string& text : options.volumes) add(parse_volume(text), false);
  for (const std::string& text : options.tmpfs) add(parse_tmpfs(text), false);
  for (const std::string& path : image.volumes) {
    Volume volume;
    volume.kind = Volume::Kind::kAnonymous;
    volume.target = RootfsPath(path);
    if (!volume.target.is_root()) add(volume, true);
  }
  int number = 0;
  for (Volume& volume : volumes)
    if (volume.kind == Volume::Kind::kAnonymous) volume.source = std::to_string(number++);
  return volumes;
}

std::vector<Port> ports_of(const RunOptions& options, const oci::RunConfig& image) {
  std::vector<Port> ports;
  for (const std::string& text : options.ports)
    for (const Port& port : parse_ports(text))
      if (std::find(ports.begin(), ports.end(), port) == ports.end()) ports.push_back(port);
  if (options.publish_all)
    for (const std::string& exposed : image.exposed_ports)
      for (const Port& port : parse_ports(exposed))
        if (std::none_of(ports.begin(), ports.end(), [&](const Port& other) {
              return other.container == port.container && other.protocol == port.protocol;
            }))
          ports.push_back(port);
  return ports;
}

void check_network(const RunOptions& options, bool has_ports) {
  if (options.network != "" && options.network != "host" && options.network != "none" &&
      options.network != "bridge")
    throw Error(ErrorCode::kUsage, fmt::format("unknown network {}", quote(options.network)))
        .with_hint("host, none and bridge (a network of its own) are known");
  if (has_ports && options.network == "none")
    throw Error(ErrorCode::kUsage, "-p cannot be used with --network none")
        .with_hint("leave --network out: a container with published ports has a network of its own");
}

void check_host(const std::string& text) {
  size_t colon = text.find(':');
  if (colon == text.npos) colon = text.find('=');
  if (colon == text.npos || colon == 0)
    fail(ErrorCode::kUsage, "--add-host {}: expected NAME:ADDRESS", quote(text));
  in6_addr buffer;
  std::string address = text.substr(colon + 1);
  if (inet_pton(AF_INET, address.c_str(), &buffer) != 1 && inet_pton(AF_INET6, address.c_str(), &buffer) != 1)
    fail(ErrorCode::kUsage, "--add-host {}: invalid IP address {}", quote(text), quote(address));
}

}  // namespace

std::vector<std::string> ContainerSpec::argv() const {
  std::vector<std::string> all = entrypoint;
  all.insert(all.end(), command.begin(), command.end());
  return all;
}

ContainerSpec make_spec(const RunOptions& options, const oci::RunConfig& image) {
  ContainerSpec spec;
  spec.name = options.name;
  spec.image_name = options.image;
  if (options.entrypoint) {
    if (!options.entrypoint->empty()) spec.entrypoint = {*options.entrypoint};
    spec.command = options.command;
  } else {
    spec.entrypoint = image.entrypoint;
    spec.command = options.command.empty() ? image.cmd : options.command;
  }
  if (spec.argv().empty())
    throw Error(ErrorCode::kInvalid, "no command specified")
        .with_hint(
            fmt::format("the image has no CMD and no ENTRYPOINT: corten run {} COMMAND", options.image));
  spec.environment = environment_of(options, image);
  spec.user = options.user.empty() ? image.user : options.user;
  spec.directory = options.directory.empty() ? image.working_dir : options.directory;
  if (spec.directory.empty()) spec.directory = "/";
  if (!spec.directory.starts_with('/'))
    fail(ErrorCode::kUsage, "working directory {}: not an absolute path", quote(spec.directory));
  spec.hostname = options.hostname;
  spec.ports = ports_of(options, image);
  check_network(options, !spec.ports.empty());
  spec.network = options.network;
  if (spec.network == "host") spec.ports.clear();  // Docker: published ports are discarded
  spec.volumes = volumes_of(options, image);
  for (const std::string& host : options.extra_hosts) check_host(host);
  spec.extra_hosts = options.extra_hosts;
  for (const std::string& limit : options.ulimits) sandbox::parse_ulimit(limit);
  spec.ulimits = options.ulimits;
  spec.labels = image.labels;
  for (const std::string& label : options.labels) {
    size_t equals = label.find('=');
    spec.labels[label.substr(0, equals)] = equals == label.npos ? "" : label.substr(equals + 1);
  }
  spec.exposed_ports.assign(image.exposed_ports.begin(), image.exposed_ports.end());
  spec.shell = image.shell;
  spec.health = health_of(options, image);
  spec.detached = options.detach;
  spec.remove = options.remove;
  spec.read_only = options.read_only;
  spec.interactive = options.interactive && !options.detach;
  spec.terminal = options.terminal;
  if (spec.terminal) spec.environment.push_back("TERM=xterm");
  std::string signal = options.stop_signal.empty() ? image.stop_signal : options.stop_signal;
  if (auto number = signal.empty() ? 15 : parse_signal(signal); number && *number > 0 && *number <= 64)
    spec.stop_signal = *number;
  else
    fail(ErrorCode::kUsage, "invalid signal: {}", signal);
  spec.stop_timeout_s = options.stop_timeout_s.value_or(image.stop_timeout_s.value_or(10));
  if (!options.shm_size.empty()) {
    auto size = parse_size(options.shm_size);
    if (!size || *size == 0) fail(ErrorCode::kUsage, "--shm-size: invalid size {}", quote(options.shm_size));
    spec.shm_bytes = *size;
  }
  return spec;
}

namespace {

Json to_json(const oci::Healthcheck& health) {
  return Json::object({{"Test", health.test},
                       {"Interval", health.interval_ns},
                       {"Timeout", health.timeout_ns},
                       {"StartPeriod", health.start_period_ns},
                       {"StartInterval", health.start_interval_ns},
                       {"Retries", health.retries}});
}

oci::Healthcheck health_from(const Json& json) {
  return {json.get_strings("Test"),    json.get_int("Interval"),      json.get_int("Timeout"),
          json.get_int("StartPeriod"), json.get_int("StartInterval"), json.get_int("Retries")};
}

template <typename T>
Json list_of(const std::vector<T>& values) {
  Json list = Json::array();
  for (const T& value : values) list.push_back(container::to_json(value));
  return list;
}

}  // namespace

Json to_json(const ContainerSpec& spec) {
  Json layers = Json::array(), labels = Json::object();
  for (const store::LayerRef& layer : spec.layers)
    layers.push_back(Json::object({{"Id", layer.id.to_string()}, {"Time", layer.time}}));
  for (const auto& [name, value] : spec.labels) labels.set(name, value);
  Json json = Json::object({{"Id", spec.id},
                            {"Name", spec.name},
                            {"ImageName", spec.image_name},
                            {"Image", spec.image.to_string()},
                            {"Layers", layers},
                            {"Created", spec.created_ns},
                            {"Entrypoint", spec.entrypoint},
                            {"Command", spec.command},
                            {"Environment", spec.environment},
                            {"User", spec.user},
                            {"Directory", spec.directory},
                            {"Hostname", spec.hostname},
                            {"Network", spec.network},
                            {"Ports", list_of(spec.ports)},
                            {"Volumes", list_of(spec.volumes)},
                            {"ExtraHosts", spec.extra_hosts},
                            {"Ulimits", spec.ulimits},
                            {"Labels", labels},
                            {"ExposedPorts", spec.exposed_ports},
                            {"Shell", spec.shell},
                            {"Detached", spec.detached},
                            {"Remove", spec.remove},
                            {"ReadOnly", spec.read_only},
                            {"Interactive", spec.interactive},
                            {"Tty", spec.terminal},
                            {"StopSignal", spec.stop_signal},
                            {"StopTimeout", spec.stop_timeout_s},
                            {"ShmSize", spec.shm_bytes}});
  if (spec.health) json.set("Health", to_json(*spec.health));
  return json;
}

ContainerSpec spec_from_json(const Json& json) try {
  ContainerSpec spec;
  spec.id = json.get_string("Id");
  spec.name = json.get_string("Name");
  spec.image_name = json.get_string("ImageName");
  spec.image = Digest::parse(json.get_string("Image"));
  if (const Json* layers = json.find("Layers"))
    for (const Json& layer : layers->as_array())
      spec.layers.push_back({Digest::parse(layer.get_string("Id")), layer.get_int("Time")});
  spec.created_ns = json.get_int("Created");
  spec.entrypoint = json.get_strings("Entrypoint");
  spec.command = json.get_strings("Command");
  spec.environment = json.get_strings("Environment");
  spec.user = json.get_string("User");
  spec.directory = json.get_string("Directory");
  spec.hostname = json.get_string("Hostname");
  spec.network = json.get_string("Network");
  if (const Json* ports = json.find("Ports"))
    for (const Json& port : ports->as_array()) spec.ports.push_back(port_from_json(port));
  if (const Json* volumes = json.find("Volumes"))
    for (const Json& volume : volumes->as_array()) spec.volumes.push_back(volume_from_json(volume));
  spec.extra_hosts = json.get_strings("ExtraHosts");
  spec.ulimits = json.get_strings("Ulimits");
  if (const Json* labels = json.find("Labels"))
    for (const auto& [name, value] : labels->as_object()) spec.labels[name] = value.as_string();
  spec.exposed_ports = json.get_strings("ExposedPorts");
  spec.shell = json.get_strings("Shell");
  if (const Json* health = json.find("Health")) spec.health = health_from(*health);
  spec.detached = json.get_bool("Detached");
  spec.remove = json.get_bool("Remove");
  spec.read_only = json.get_bool("ReadOnly");
  spec.interactive = json.get_bool("Interactive");
  spec.terminal = json.get_bool("Tty");
  spec.stop_signal = static_cast<int>(json.get_int("StopSignal", 15));
  spec.stop_timeout_s = json.get_int("StopTimeout", 10);
  spec.shm_bytes = static_cast<uint64_t>(json.get_int("ShmSize", 64 << 20));
  return spec;
} catch (const Error& error) {
  throw Error(ErrorCode::kCorrupt, fmt::format("container.json: {}", error.what()));
}

}  // namespace corten::container
