// The form of what we emit is that of BuildKit's exporter: it reads the config into a Go map, sets what the
// build decided, and marshals the map, so the top-level keys are sorted; what is inside was marshalled from
// structs, so it has their order (ocispecs.ImageConfig, then Docker's Healthcheck, OnBuild, StopTimeout,
// Shell). Go escapes < > &.
#include "oci/config.h"

#include "base/error.h"
#include "base/strings.h"
#include "oci/manifest.h"

namespace corten::oci {

namespace {
constexpr size_t kMaxHistory = 20'000;

// Object whose members are names alone: {"80/tcp": {}}.
std::set<std::string> parse_names(const Json& json, std::string_view key) {
  std::set<std::string> names;
  const Json* member = json.find(key);
  if (!member) return names;
  if (!member->is_object()) fail(ErrorCode::kInvalid, "config: {} must be an object", key);
  for (const auto& [name, value] : member->as_object()) names.insert(name);
  return names;
}

Json names_to_json(const std::set<std::string>& names) {
  Json json = Json::object();
  for (const std::string& name : names) json.set(name, Json::object());
  return json;
}

Healthcheck parse_healthcheck(const Json& json) {
  return {.test = json.get_strings("Test"),
          .interval_ns = json.get_int("Interval"),
          .timeout_ns = json.get_int("Timeout"),
          .start_period_ns = json.get_int("StartPeriod"),
          .start_interval_ns = json.get_int("StartInterval"),
          .retries = json.get_int("Retries")};
}

Json healthcheck_to_json(const Healthcheck& check) {
  Json json = Json::object();
  if (!check.test.empty()) json.set("Test", check.test);
  auto set_number = [&](std::string_view key, int64_t value) {
    if (value != 0) json.set(key, value);
  };
  set_number("Interval", check.interval_ns);
  set_number("Timeout", check.timeout_ns);
  set_number("StartPeriod", check.start_period_ns);
  set_number("StartInterval", check.start_interval_ns);
  set_number("Retries", check.retries);
  return json;
}

template <size_t N>
Json::Object members_except(const Json& json, const std::string_view (&known)[N]) {
  Json::Object rest;
  for (const auto& member : json.as_object())
    if (std::find(std::begin(known), std::end(known), member.first) == std::end(known))
      rest.push_back(member);
  return rest;
}

RunConfig parse_run_config(const Json& json) {
  static constexpr std::string_view kKnown[] = {
      "User",   "ExposedPorts", "Env",         "Entrypoint",  "Cmd",     "Volumes",     "WorkingDir",
      "Labels", "StopSignal",   "ArgsEscaped", "Healthcheck", "OnBuild", "StopTimeout", "Shell"};
  if (!json.is_object()) fail(ErrorCode::kInvalid, "config: must be an object");
  RunConfig config;
  config.user = json.get_string("User");
  config.exposed_ports = parse_names(json, "ExposedPorts");
  config.env = json.get_strings("Env");
  config.entrypoint = json.get_strings("Entrypoint");
  config.cmd = json.get_strings("Cmd");
  config.volumes = parse_names(json, "Volumes");
  config.working_dir = json.get_string("WorkingDir");
  if (const Json* labels = json.find("Labels")) {
    if (!labels->is_object()) fail(ErrorCode::kInvalid, "config: Labels must be an object");
    for (const auto& [key, value] : labels->as_object()) config.labels[key] = value.as_string();
  }
  config.stop_signal = json.get_string("StopSignal");
  config.args_escaped = json.get_bool("ArgsEscaped");
  if (const Json* check = json.find("Healthcheck")) config.healthcheck = parse_healthcheck(*check);
  config.on_build = json.get_strings("OnBuild");
  if (const Json* timeout = json.find("StopTimeout")) config.stop_timeout_s = timeout->as_int();
  config.shell = json.get_strings("Shell");
  config.other = members_except(json, kKnown);
  return config;
}

Json run_config_to_json(const RunConfig& config) {
  Json json = Json::object();
  auto set_text = [&](std::string_view key, const std::string& value) {
    if (!value.empty()) json.set(key, value);
  };
  auto set_list = [&](std::string_view key, const std::vector<std::string>& value) {
    if (!value.empty()) json.set(key, value);
  };
  set_text("User", config.user);
  if (!config.exposed_ports.empty()) json.set("ExposedPorts", names_to_json(config.exposed_ports));
  set_list("Env", config.env);
  set_list("Entrypoint", config.entrypoint);
  set_list("Cmd", config.cmd);
  if (!config.volumes.empty()) json.set("Volumes", names_to_json(config.volumes));
  set_text("WorkingDir", config.working_dir);
  if (!config.labels.empty()) json.set("Labels", annotations_to_json(config.labels));
  set_text("StopSignal", config.stop_signal);
  if (config.args_escaped) json.set("ArgsEscaped", true);
  if (config.healthcheck) json.set("Healthcheck", healthcheck_to_json(*config.healthcheck));
  set_list("OnBuild", config.on_build);
  if (config.stop_timeout_s) json.set("StopTimeout", *config.stop_timeout_s);
  set_list("Shell", config.shell);
  for (const auto& [key, value] : config.other) json.set(key, value);
  return json;
}

std::vector<History> parse_history(const Json& json) {
  std::vector<History> history;
  if (!json.is_array() || json.size() > kMaxHistory)
    fail(ErrorCode::kInvalid, "config: history must be a list of at most {} entries", kMaxHistory);
  for (const Json& entry : json.as_array()) {
    if (!entry.is_object())
      fail(ErrorCode::kInvalid, "config: history[{}] must be an object", history.size());
    history.push_back({.created = entry.get_string("created"),
                       .created_by = entry.get_string("created_by"),
                       .author = entry.get_string("author"),
                       .comment = entry.get_string("comment"),
                       .empty_layer = entry.get_bool("empty_layer")});
  }
  return history;
}

Json history_to_json(const std::vector<History>& history) {
  Json list = Json::array();
  for (const History& entry : history) {
    Json json = Json::object();
    if (!entry.created.empty()) json.set("created", entry.created);
    if (!entry.created_by.empty()) json.set("created_by", entry.created_by);
    if (!entry.author.empty()) json.set("author", entry.author);
    if (!entry.comment.empty()) json.set("comment", entry.comment);
    if (entry.empty_layer) json.set("empty_layer", true);
    list.push_back(std::move(json));
  }
  return list;
}

std::vector<DiffId> parse_rootfs(const Json& rootfs) {
  std::vector<DiffId> diff_ids;
  if (!rootfs.is_object() || rootfs.get_string("type", "layers") != "layers")
    fail(ErrorCode::kInvalid, "config: rootfs.type must be \"layers\"");
  std::vector<std::string> texts = rootfs.get_strings("diff_ids");
  if (texts.size() > kMaxLayers)
    fail(ErrorCode::kInvalid, "config: {} diff ids, the limit is {}", texts.size(), kMaxLayers);
  for (const std::string& text : texts) diff_ids.push_back({Digest::parse(text)});
  return diff_ids;
}

std::vector<std::string> find_oddities(const ImageConfig& config) {
  std::vector<std::string> warnings;
  size_t layers = 0;
  for (const History& entry : config.history) layers += !entry.empty_layer;
  if (!config.history.empty() && layers != config.diff_ids.size())
    warnings.push_back(
        fmt::format("history has {} layers, rootfs.diff_ids {}", layers, config.diff_ids.size()));
  if (config.platform.os.empty()) warnings.push_back("os is missing");
  if (config.platform.architecture.empty()) warnings.push_back("architecture is missing");
  if (!config.created.empty() && !parse_time(config.created))
    warnings.push_back(fmt::format("created {} is no RFC 3339 time", quote(config.created)));
  for (const std::string& variable : config.config.env)
    if (variable.find('=') == std::string::npos || variable.starts_with('='))
      warnings.push_back(fmt::format("Env {} is not of the form NAME=value", quote(variable)));
  return warnings;
}
}  // namespace

std::optional<std::string> RunConfig::env_value(std::string_view name) const {
  for (auto variable = env.rbegin(); variable != env.rend(); ++variable)
    if (variable->size() > name.size() && variable->starts_with(name) && (*variable)[name.size()] == '=')
      return variable->substr(name.size() + 1);
  return std::nullopt;
}

void RunConfig::set_env(std::string_view name, std::string_view value) {
  std::string text = std::string(name) + "=" + std::string(value);
  for (std::string& variable : env) {
    if (std::string_view(variable).substr(0, variable.find('=')) != name) continue;
    variable = text;
    return;
  }
  env.push_back(text);
}

bool ImageConfig::same_meaning(const ImageConfig& b) const {
  return created == b.created && author == b.author && platform == b.platform && config == b.config &&
         diff_ids == b.diff_ids && history == b.history && other == b.other;
}

ParsedConfig parse_config(std::string_view bytes) {
  static constexpr std::string_view kKnown[] = {"architecture", "author", "config",      "created",
                                                "history",      "os",     "os.features", "os.version",
                                                "rootfs",       "variant"};
  if (bytes.size() > kMaxConfigBytes)
    fail(ErrorCode::kInvalid, "image config of {} bytes: the limit is {}", bytes.size(), kMaxConfigBytes);
  ParsedConfig result;
  ImageConfig& config = result.config;
  try {
    Json json = Json::parse(bytes, kMaxConfigBytes);
    if (!json.is_object()) fail(ErrorCode::kInvalid, "must be a JSON object");
    config.created = json.get_string("created");
    config.author = json.get_string("author");
    config.platform = platform_from_json(json);
    if (const Json* run = json.find("config")) config.config = parse_run_config(*run);
    if (const Json* rootfs = json.find("rootfs")) {
      config.diff_ids = parse_rootfs(*rootfs);
    } else {
      result.warnings.push_back("rootfs is missing");
    }
    if (const Json* history = json.find("history")) config.history = parse_history(*history);
    config.other = members_except(json, kKnown);
  } catch (Error& error) {
    error.add_context("image config");
    throw;
  }
  config.raw = bytes;
  for (std::string& warning : find_oddities(config)) result.warnings.push_back(std::move(warning));
  return result;
}

std::string emit_config(const ImageConfig& config) {
  std::map<std::string, Json> members;
  for (const auto& [key, value] : config.other) members[key] = value;
  const Json platform = platform_to_json(config.platform);
  for (const auto& [key, value] : platform.as_object()) members[key] = value;
  if (!config.author.empty()) members["author"] = config.author;
  if (!config.created.empty()) members["created"] = config.created;
  members["config"] = run_config_to_json(config.config);
  if (!config.history.empty()) members["history"] = history_to_json(config.history);
  Json diff_ids = Json::array();
  for (const DiffId& id : config.diff_ids) diff_ids.push_back(id.digest.to_string());
  members["rootfs"] = Json::object({{"type", "layers"}, {"diff_ids", std::move(diff_ids)}});

  Json json = Json::object();
  for (auto& [key, value] : members) json.set(key, std::move(value));
  return json.dump({.escape_html = true});
}

Digest chain_id(const std::vector<DiffId>& diff_ids, size_t count) {
  Digest chain;
  for (size_t i = 0; i < count && i < diff_ids.size(); i++)
    chain =
        i == 0 ? diff_ids[0].digest : Digest::of(chain.to_string() + " " + diff_ids[i].digest.to_string());
  return chain;
}

}  // namespace corten::oci
