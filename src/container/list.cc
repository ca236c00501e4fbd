// `ps`, `logs`, `port`: what is told about containers.
#include <fmt/core.h>

#include "base/error.h"
#include "base/json_template.h"
#include "base/strings.h"
#include "container/commands.h"
#include "container/log.h"
#include "oci/config.h"

namespace corten::container {

namespace {

constexpr int64_t kSecond = 1'000'000'000;

struct Row {
  const Container* container;
  Status status;
  HealthStatus health = HealthStatus::kNone;
  std::optional<State> state;
  std::string status_text, ports;
};

std::string port_text(const Port& port) {
  std::string address = port.host_ip.find(':') != std::string::npos ? "[" + port.host_ip + "]" : port.host_ip;
  return fmt::format("{}:{}", address, port.host);
}

std::string ports_text(const Row& row) {
  std::vector<std::string> texts;
  if (row.status == Status::kRunning && row.state)
    for (const Port& port : row.state->ports)
      texts.push_back(fmt::format("{}->{}/{}", port_text(port), port.container, port.protocol));
  if (row.status == Status::kRunning)
    for (const std::string& exposed : row.container->spec().exposed_ports)
      if (std::none_of(texts.begin(), texts.end(),
                       [&](const std::string& text) { return text.ends_with("->" + exposed); }))
        texts.push_back(exposed);
  return join(texts, ", ");
}

std::string status_text(const Row& row, int64_t now_ns) {
  switch (row.status) {
    case Status::kCreated:
      return "Created";
    case Status::kUnknown:
      return "Unknown (its monitor is gone)";
    case Status::kExited: {
      auto exit = row.container->exit();
      if (!exit) return "Exited";
      if (exit->finished_ns == 0) return fmt::format("Exited ({}), {}", exit->code, exit->error);
      return fmt::format("Exited ({}) {} ago", exit->code,
                         human_duration((now_ns - exit->finished_ns) / kSecond));
    }
    case Status::kRunning:
      break;
  }
  std::string text = "Up " + human_duration((now_ns - row.state->started_ns) / kSecond);
  if (row.health == HealthStatus::kStarting) return text + " (health: starting)";
  return row.health == HealthStatus::kNone ? text : fmt::format("{} ({})", text, health_name(row.health));
}

Row row_of(const Container& container, int64_t now_ns) {
  Row row{.container = &container, .status = container.status(), .state = container.state()};
  if (row.status == Status::kRunning) row.health = container.health().status;
  row.ports = ports_text(row);
  row.status_text = status_text(row, now_ns);
  return row;
}

bool matches(const Row& row, const std::string& filter) {
  size_t equals = filter.find('=');
  if (equals == filter.npos)
    throw Error(ErrorCode::kUsage, fmt::format("invalid filter {}", quote(filter)))
        .with_hint("write NAME=VALUE");
  std::string key = filter.substr(0, equals), value = filter.substr(equals + 1);
  const ContainerSpec& spec = row.container->spec();
  if (key == "name")
    return spec.name.find(value) != std::string::npos ||
           (value.starts_with('^') && value.ends_with('$') && spec.name == value.substr(1, value.size() - 2));
  if (key == "id") return spec.id.starts_with(value);
  if (key == "status") return status_name(row.status) == value;
  if (key == "health") return health_name(row.health) == value;
  if (key == "ancestor")
    return spec.image_name == value || spec.image.to_string() == value || spec.image.hex().starts_with(value);
  if (key == "label") {
    size_t cut = value.find('=');
    auto label = spec.labels.find(value.substr(0, cut));
    return label != spec.labels.end() && (cut == value.npos || label->second == value.substr(cut + 1));
  }
  throw Error(ErrorCode::kUsage, fmt::format("unknown filter {}", quote(key)))
      .with_hint("name, id, status, health, label and ancestor are known");
}

std::string command_text(const ContainerSpec& spec, bool whole) {
  std::string text = join(spec.argv(), " ");
  constexpr size_t kShown = 19;  // characters of the command, as Docker cuts it
  if (!whole && text.size() > kShown + 1) {
    size_t cut = kShown;
    while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) cut--;
    text = text.substr(0, cut) + "\u2026";
  }
  return quote(to_valid_utf8(text));
}

Json to_json(const Row& row, int64_t now_ns, bool whole) {
  const ContainerSpec& spec = row.container->spec();
  std::vector<std::string> labels, mounts;
  for (const auto& [name, value] : spec.labels) labels.push_back(name + "=" + value);
  int64_t local = 0;
  for (const Volume& volume : spec.volumes) {
    mounts.push_back(volume.kind == Volume::Kind::kBind || volume.kind == Volume::Kind::kNamed
                         ? volume.source
                         : volume.target.absolute());
    local += volume.kind == Volume::Kind::kNamed || volume.kind == Volume::Kind::kAnonymous;
  }
  return Json::object({{"Command", command_text(spec, whole)},
                       {"CreatedAt", format_rfc3339(spec.created_ns / kSecond)},
                       {"Health", row.health == HealthStatus::kNone ? "" : health_name(row.health)},
                       {"ID", whole ? spec.id : spec.short_id()},
                       {"Image", spec.image_name},
                       {"Labels", join(labels, ",")},
                       {"LocalVolumes", std::to_string(local)},
                       {"Mounts", join(mounts, ",")},
                       {"Names", spec.name},
                       {"Networks", row.state ? row.state->network : spec.network},
                       {"Ports", row.ports},
                       {"RunningFor", human_duration((now_ns - spec.created_ns) / kSecond) + " ago"},
                       {"State", status_name(row.status)},
                       {"Status", row.status_text}});
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
  auto width = [](const std::string& text) {
    return static_cast<size_t>(
        std::count_if(text.begin(), text.end(), [](unsigned char c) { return (c & 0xC0) != 0x80; }));
  };
  std::vector<size_t> widths(rows[0].size());
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); i++) widths[i] = std::max(widths[i], width(row[i]));
  std::string text;
  for (const auto& row : rows) {
    for (size_t i = 0; i + 1 < row.size(); i++)
      text += row[i] + std::string(widths[i] - width(row[i]) + 3, ' ');
    text += row.back() + "\n";
  }
  return text;
}

int64_t parse_moment(const std::string& text, int64_t now_ns, std::string_view flag) {
  if (auto time = oci::parse_time(text)) return time->seconds * kSecond + time->ns;
  if (auto seconds = parse_int(text)) return *seconds * kSecond;
  if (auto ago = parse_duration(text)) return now_ns - *ago;
  throw Error(ErrorCode::kUsage, fmt::format("{}: invalid time {}", flag, quote(text)))
      .with_hint("for example 2026-01-02T15:04:05Z, seconds since 1970, or 10m for ten minutes ago");
}

}  // namespace

int ps_command(const PsOptions& options, Context& context) {
  std::vector<Container> containers = Container::list(context.store);
  int64_t now_ns = context.clock.now_ns();
  bool asks_for_status = std::any_of(options.filters.begin(), options.filters.end(),
                                     [](const std::string& filter) { return filter.starts_with("status="); });
  std::vector<Row> rows;
  for (const Container& container : containers) {
    Row row = row_of(container, now_ns);
    // What lost its monitor is shown without -a: somebody believes that it runs.
    bool shown =
        options.all || asks_for_status || row.status == Status::kRunning || row.status == Status::kUnknown;
    // A status may be asked for more than once: one of them is enough, as with Docker.
    bool status_fits = !asks_for_status;
    for (const std::string& filter : options.filters) {
      bool fits = matches(row, filter);
      if (filter.starts_with("status="))
        status_fits = status_fits || fits;
      else
        shown = shown && fits;
    }
    if (shown && status_fits) rows.push_back(std::move(row));
  }
  if (options.quiet) {
    for (const Row& row : rows)
      context.out((options.no_trunc ? row.container->spec().id : row.container->spec().short_id()) + "\n");
    return 0;
  }
  if (!options.format.empty() && options.format != "table") {
    for (const Row& row : rows) {
      Json json = to_json(row, now_ns, options.no_trunc);
      context.out((options.format == "json" ? json.dump() : expand_template(options.format, json)) + "\n");
    }
    return 0;
  }
  std::vector<std::vector<std::string>> lines = {
      {"CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"}};
  for (const Row& row : rows) {
    const ContainerSpec& spec = row.container->spec();
    lines.push_back({options.no_trunc ? spec.id : spec.short_id(), spec.image_name,
                     command_text(spec, options.no_trunc),
                     human_duration((now_ns - spec.created_ns) / kSecond) + " ago", row.status_text,
                     row.ports, spec.name});
  }
  context.out(table(lines));
  for (const Row& row : rows) {
    const std::string& name = row.container->spec().name;
    if (row.health == HealthStatus::kUnhealthy)
      context.err(
          fmt::format("hint: {0} fails its health check: 'corten inspect {0}' shows the last probes, 'corten "
                      "logs {0}' what it wrote, 'corten wait --condition healthy {0}' both\n",
                      name));
    if (row.status == Status::kUnknown)
      context.err(fmt::format(
          "hint: {0} died with its monitor, which was killed: 'corten rm -f {0}' removes it\n", name));
  }
  return 0;
}

int logs_command(const LogsOptions& options, Context& context) {
  Container container = Container::find(options.container, context.store);
  if (!container.spec().detached)
    throw Error(ErrorCode::kInvalid,
                fmt::format("container {} has no log: it ran in the foreground, its output went there",
                            container.spec().name))
        .with_hint("start it with -d to keep a log");
  LogOptions log{.timestamps = options.timestamps, .follow = options.follow};
  int64_t now_ns = context.clock.now_ns();
  if (!options.tail.empty() && options.tail != "all") {
    auto count = parse_int(options.tail);
    if (!count) fail(ErrorCode::kUsage, "--tail: expected a number or \"all\", got {}", quote(options.tail));
    if (*count >= 0) log.tail = static_cast<uint64_t>(*count);
  }
  if (!options.since.empty()) log.since_ns = parse_moment(options.since, now_ns, "--since");
  if (!options.until.empty()) log.until_ns = parse_moment(options.until, now_ns, "--until");
  Container::Waiter waiter(container);
  log.is_over = [&] { return waiter.wait(0); };
  if (options.follow) context.store.release();
  read_log(container.log_path(), log,
           [&](int stream, std::string_view text) { (stream == 2 ? context.err : context.out)(text); });
  return 0;
}

int port_command(const std::string& name, const std::string& port, Context& context) {
  Container container = Container::find(name, context.store);
  auto state = container.is_running() ? container.state() : std::nullopt;
  std::string wanted = port.empty() || port.find('/') != port.npos ? port : port + "/tcp";
  bool found = false;
  for (const Port& one : state ? state->ports : std::vector<Port>()) {
    std::string inside = fmt::format("{}/{}", one.container, one.protocol);
    if (!wanted.empty() && inside != wanted) continue;
    found = true;
    context.out(wanted.empty() ? fmt::format("{} -> {}\n", inside, port_text(one)) : port_text(one) + "\n");
  }
  if (!found && !wanted.empty())
    fail(ErrorCode::kNotFound, "no public port {} published for {}", quote(wanted), name);
  return 0;
}

}  // namespace corten::container
