#include "container/container.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/suggest.h"

namespace corten::container {

namespace {

constexpr size_t kMaxFileBytes = 16 << 20;

std::string random_hex(size_t bytes) {
  std::vector<uint8_t> random(bytes);
  if (getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size()))
    fail_errno("random numbers");
  return to_hex(random);
}

// Steel and what is built of it.
std::string random_name() {
  static constexpr const char* kFirst[] = {"amber", "bold",   "brisk", "calm",  "copper", "dusty", "eager",
                                           "fond",  "gentle", "keen",  "lucid", "mellow", "noble", "quiet",
                                           "rusty", "sunny",  "swift", "tidy",  "vivid",  "warm"};
  static constexpr const char* kSecond[] = {"anvil", "arch",  "beam",  "bolt",   "bridge", "canal",  "crane",
                                            "dock",  "ferry", "forge", "gantry", "girder", "harbor", "hull",
                                            "lathe", "pier",  "pylon", "rivet",  "tower",  "truss"};
  uint32_t number = 0;
  if (getrandom(&number, sizeof number, 0) != sizeof number) fail_errno("random numbers");
  return fmt::format("{}_{}", kFirst[number % std::size(kFirst)], kSecond[number / 64 % std::size(kSecond)]);
}

void check_name(std::string_view name) {
  bool ok = name.size() >= 2 && name.size() <= 255 && isalnum(static_cast<unsigned char>(name[0]));
  for (unsigned char c : name) ok = ok && (isalnum(c) || c == '_' || c == '.' || c == '-');
  if (!ok)
    fail(ErrorCode::kUsage, "invalid container name ({}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name);
}

std::vector<std::string> directories_in(const std::string& path) {
  std::vector<std::string> names;
  DIR* stream = opendir(path.c_str());
  if (!stream) fail_errno("read {}", path);
  while (dirent* item = readdir(stream))
    if (item->d_name[0] != '.') names.emplace_back(item->d_name);
  closedir(stream);
  return names;
}

// Nothing when the file is missing or, after a crash of the machine, no JSON.
std::optional<Json> read_json(const HostPath& path) {
  try {
    return Json::parse(read_file(path.value, kMaxFileBytes));
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kNotFound || error.code() == ErrorCode::kInvalid) return std::nullopt;
    throw;
  }
}

Json to_json(const ProcessId& id) {
  return Json::object({{"Pid", id.pid}, {"Start", id.start_ticks}});
}
ProcessId process_from(const Json* json) {
  if (!json) return {};
  return {static_cast<pid_t>(json->get_int("Pid")), static_cast<uint64_t>(json->get_int("Start"))};
}

// What a removal or a creation that was killed left behind. Under the lock of creations.
void sweep(store::Store& store) {
  for (const std::string& id : directories_in(store.containers_directory())) {
    std::string directory = store.containers_directory() + "/" + id;
    if (path_exists(directory + "/container.json")) continue;
    try {
      remove_tree(directory);
    } catch (const Error&) {
      continue;  // being removed by somebody else this moment
    }
  }
}

std::optional<ExitRecord> parse_exit(std::string_view text) {
  if (text.empty()) return std::nullopt;
  try {
    Json json = Json::parse(text);
    return ExitRecord{static_cast<int>(json.get_int("ExitCode")), json.get_int("FinishedAt"),
                      json.get_string("Error")};
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

std::string_view status_name(Status status) {
  switch (status) {
    case Status::kCreated:
      return "created";
    case Status::kRunning:
      return "running";
    case Status::kExited:
      return "exited";
    case Status::kUnknown:
      break;
  }
  return "unknown";
}

// The fields of /proc/PID/stat from the third on. Error(kNotFound) when there is no such process.
static std::vector<std::string> stat_fields(pid_t pid) {
  std::string text = read_file(fmt::format("/proc/{}/stat", pid), 4096);
  // The second field is the program's name in brackets, which may hold anything.
  std::vector<std::string> fields = split_words(std::string_view(text).substr(text.rfind(')') + 1));
  if (fields.size() < 20) fail(ErrorCode::kInternal, "/proc/{}/stat: too short", pid);
  return fields;
}

static uint64_t start_ticks_of(const std::vector<std::string>& fields) {
  return static_cast<uint64_t>(parse_int(fields[19]).value_or(0));
}

ProcessId ProcessId::of(pid_t pid) {
  return {pid, start_ticks_of(stat_fields(pid))};
}

UniqueFd ProcessId::open() const {
  if (pid <= 0) return UniqueFd();
  UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!fd) return fd;
  try {
    std::vector<std::string> fields = stat_fields(pid);
    bool is_dead = fields[0] == "Z" || fields[0] == "X";  // its new parent has not looked yet
    if (is_dead || start_ticks_of(fields) != start_ticks) fd.reset();
  } catch (const Error&) {
    fd.reset();  // it is gone
  }
  return fd;
}

Container Container::create(ContainerSpec spec, store::Store& store) {
  FileLock lock = FileLock::exclusive(store.lock_path("containers"));
  std::vector<Container> others = list(store);
  auto holder_of = [&](const std::string& name) {
    return std::find_if(others.begin(), others.end(),
                        [&](const Container& other) { return other.spec().name == name; });
  };
  if (!spec.name.empty()) {
    check_name(spec.name);
    if (auto other = holder_of(spec.name); other != others.end())
      throw Error(ErrorCode::kExists,
                  fmt::format("Conflict. The container name {} is already in use by container {}.",
                              quote("/" + spec.name), quote(other->spec().id)))
          .with_hint(fmt::format("remove it first: corten rm -f {}", spec.name));
  } else {
    spec.name = random_name();
    while (holder_of(spec.name) != others.end()) spec.name = random_name() + std::to_string(others.size());
  }
  sweep(store);
  spec.id = random_hex(32);
  if (spec.hostname.empty()) spec.hostname = spec.short_id();
  HostPath directory{store.containers_directory() + "/" + spec.id};
  if (mkdir(directory.c_str(), 0700) != 0) fail_errno("make container {}", directory.value);
  open_file((directory / "exit").value, O_WRONLY | O_CREAT | O_EXCL, 0600).close_checked("exit");
  open_file((directory / "lock").value, O_WRONLY | O_CREAT | O_EXCL, 0600).close_checked("lock");
  write_file_atomic((directory / "container.json").value, container::to_json(spec).dump() + "\n", 0600);
  return Container(std::move(spec), std::move(directory));
}

std::vector<Container> Container::list(store::Store& store) {
  std::vector<Container> containers;
  for (const std::string& id : directories_in(store.containers_directory())) {
    HostPath directory{store.containers_directory() + "/" + id};
    if (auto json = read_json(directory / "container.json"))
      containers.push_back(Container(spec_from_json(*json), directory));
  }
  std::sort(containers.begin(), containers.end(),
            [](const Container& a, const Container& b) { return a.spec_.created_ns > b.spec_.created_ns; });
  return containers;
}

Container Container::find(std::string_view name_or_id, store::Store& store) {
  std::vector<Container> all = list(store);
  std::string_view wanted = name_or_id.starts_with('/') ? name_or_id.substr(1) : name_or_id;
  std::vector<std::string> names;
  for (const Container& container : all) {
    if (container.spec_.name == wanted || container.spec_.id == wanted) return container;
    names.push_back(container.spec_.name);
  }
  const Container* match = nullptr;
  for (const Container& container : all) {
    if (wanted.empty() || !container.spec_.id.starts_with(wanted)) continue;
    if (match) fail(ErrorCode::kInvalid, "{}: more than one container's id begins so", wanted);
    match = &container;
  }
  if (match) return *match;
  throw Error(ErrorCode::kNotFound,
              fmt::format("No such container: {}{}", name_or_id, did_you_mean(wanted, names)))
      .with_hint("'corten ps -a' lists containers");
}

bool Container::monitor_lives() const {
  UniqueFd fd(::open((directory_ / "lock").c_str(), O_RDONLY | O_CLOEXEC));
  return fd && flock(fd.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

Status Container::status() const {
  bool lives = monitor_lives();  // before the record is read: who releases the lock has written it
  if (exit()) return Status::kExited;
  std::optional<State> last = state();
  if (!last) return Status::kCreated;
  return lives ? Status::kRunning : Status::kUnknown;
}

std::optional<State> Container::state() const {
  auto json = read_json(directory_ / "state.json");
  if (!json) return std::nullopt;
  State state;
  state.boot = json->get_string("Boot");
  state.monitor = process_from(json->find("Monitor"));
  state.init = process_from(json->find("Init"));
  state.started_ns = json->get_int("StartedAt");
  if (const Json* ports = json->find("Ports"))
    for (const Json& port : ports->as_array()) state.ports.push_back(port_from_json(port));
  state.network = json->get_string("Network");
  state.outward = json->get_string("Outward");
  return state;
}

std::optional<ExitRecord> Container::exit() const {
  std::string text;
  try {
    text = read_file((directory_ / "exit").value, kMaxFileBytes);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound) throw;
  }
  if (auto record = parse_exit(text)) return record;
  auto last = state();
  if (last && last->boot != store::boot_id()) return ExitRecord{255, 0, "the machine was restarted"};
  return std::nullopt;
}

Health Container::health() const {
  if (status() != Status::kRunning) return {};
  auto json = read_json(directory_ / "health.json");
  return json ? health_from_json(*json) : Health{};
}

FileLock Container::take_lock() const {
  FileLock lock;
  // A reader that looks right now holds it for an instant.
  for (int i = 0; i < 1000; i++) {
    if (FileLock::try_exclusive((directory_ / "lock").value, lock)) return lock;
    usleep(1000);
  }
  fail(ErrorCode::kExists, "container {}: somebody else runs it", spec_.name);
}

void Container::write_state(const State& state) const {
  Json ports = Json::array();
  for (const Port& port : state.ports) ports.push_back(container::to_json(port));
  write_file_atomic((directory_ / "state.json").value,
                    Json::object({{"Boot", state.boot},
                                  {"Monitor", to_json(state.monitor)},
                                  {"Init", to_json(state.init)},
                                  {"StartedAt", state.started_ns},
                                  {"Ports", ports},
                                  {"Network", state.network},
                                  {"Outward", state.outward}})
                            .dump() +
                        "\n",
                    0600);
}

void Container::write_health(const Health& health) const {
  write_file_atomic((directory_ / "health.json").value, container::to_json(health).dump() + "\n", 0600);
}

void Container::write_exit(const ExitRecord& record) const {
  std::string text =
      Json::object({{"ExitCode", record.code}, {"FinishedAt", record.finished_ns}, {"Error", record.error}})
          .dump() +
      "\n";
  UniqueFd file = open_file((directory_ / "exit").value, O_WRONLY);
  write_fully(file.get(), text, "exit record");
  if (fdatasync(file.get()) != 0) fail_errno("exit record of {}", spec_.name);
}

Container::Waiter::Waiter(const Container& container)
    : lock_(open_file((container.directory_ / "lock").value, O_RDONLY)),
      exit_(open_file((container.directory_ / "exit").value, O_RDONLY)) {}

bool Container::Waiter::wait(int timeout_ms) {
  if (timeout_ms < 0) {
    while (flock(lock_.get(), LOCK_SH) != 0)
      if (errno != EINTR) fail_errno("wait for a container");
    flock(lock_.get(), LOCK_UN);
    return true;
  }
  int64_t end = monotonic_ns() + int64_t{timeout_ms} * 1'000'000;
  while (true) {
    if (flock(lock_.get(), LOCK_SH | LOCK_NB) == 0) {
      flock(lock_.get(), LOCK_UN);
      return true;
    }
    if (monotonic_ns() >= end) return false;
    usleep(10'000);
  }
}

std::optional<ExitRecord> Container::Waiter::record() const {
  char buffer[4096];
  ssize_t n = pread(exit_.get(), buffer, sizeof buffer, 0);
  return parse_exit({buffer, static_cast<size_t>(std::max<ssize_t>(n, 0))});
}

void Container::remove_files() const {
  // Its description goes first: what a kill leaves behind is no container any more.
  if (unlink((directory_ / "container.json").c_str()) != 0 && errno != ENOENT)
    fail_errno("remove container {}", spec_.name);
  remove_tree(directory_.value);
}

std::vector<Digest> images_in_use(store::Store& store) {
  std::vector<Digest> images;
  for (const Container& container : Container::list(store)) images.push_back(container.spec().image);
  return images;
}

std::vector<Digest> layers_in_use(store::Store& store) {
  std::vector<Digest> layers;
  for (const Container& container : Container::list(store))
    for (const store::LayerRef& layer : container.spec().layers) layers.push_back(layer.id);
  return layers;
}

}  // namespace corten::container
