#include "sandbox/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/path.h"
#include "base/strings.h"
#include "sandbox/plan.h"

namespace corten::sandbox {

namespace {

constexpr size_t kMaxFile = 1 << 20;

int64_t number_of(std::string_view key, std::string_view value) {
  auto number = parse_int(value);
  if (!number) fail(ErrorCode::kUsage, "invalid value {} for resource {}: it is a number", quote(value), key);
  return *number;
}

uint64_t bytes_of(std::string_view key, std::string_view value) {
  auto bytes = parse_size(value);
  if (!bytes || *bytes == 0)
    fail(ErrorCode::kUsage, "invalid value {} for resource {}: it is a size, as 512m", quote(value), key);
  return *bytes;
}

void set_resource(std::string_view key, const std::string& value, ResourceLimits& limits) {
  if (key == "memory")
    limits.memory_bytes = bytes_of(key, value);
  else if (key == "memory-swap")
    limits.memory_swap_bytes = value == "-1" ? -1 : static_cast<int64_t>(bytes_of(key, value));
  else if (key == "cpu-shares")
    limits.cpu_shares = number_of(key, value);
  else if (key == "cpu-period")
    limits.cpu_period_us = number_of(key, value);
  else if (key == "cpu-quota")
    limits.cpu_quota_us = number_of(key, value);
  else if (key == "cpuset-cpus")
    limits.cpuset_cpus = value;
  else if (key == "cpuset-mems")
    limits.cpuset_mems = value;
  else
    throw Error(ErrorCode::kUsage, fmt::format("unknown resource {}", quote(key)))
        .with_hint(
            "it is one of memory, memory-swap, cpu-shares, cpu-period, cpu-quota, cpuset-cpus, cpuset-mems");
}

std::string read_text(const std::string& file) {
  try {
    return std::string(trim(read_file(file, kMaxFile)));
  } catch (const Error&) {
    return "";
  }
}

bool has_word(const std::string& text, std::string_view word) {
  for (const std::string& one : split_words(text))
    if (one == word) return true;
  return false;
}

// 0 or an errno.
int write_value(const std::string& file, std::string_view value) {
  UniqueFd fd(open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return errno;
  return write(fd.get(), value.data(), value.size()) == static_cast<ssize_t>(value.size()) ? 0 : errno;
}

struct Setting {
  std::string limit;       // "memory=64MB"
  std::string controller;  // "memory"
  std::string file, value;
  bool may_be_missing = false;  // a default: swap is not accounted for everywhere
};

std::string swap_text(const ResourceLimits& limits, bool is_v2) {
  uint64_t memory = limits.memory_bytes.value_or(0);
  if (!limits.memory_swap_bytes) return std::to_string(is_v2 ? memory : 2 * memory);
  if (*limits.memory_swap_bytes < 0) return is_v2 ? "max" : "-1";
  uint64_t both = static_cast<uint64_t>(*limits.memory_swap_bytes);
  return std::to_string(is_v2 ? both - std::min(both, memory) : both);
}

std::vector<Setting> settings_of(const ResourceLimits& limits, bool is_v2) {
  std::vector<Setting> list;
  if (limits.memory_bytes) {
    std::string name = "memory=" + human_size(*limits.memory_bytes);
    list.push_back({name, "memory", is_v2 ? "memory.max" : "memory.limit_in_bytes",
                    std::to_string(*limits.memory_bytes)});
  }
  if (limits.memory_bytes || limits.memory_swap_bytes)
    list.push_back({"memory-swap", "memory", is_v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes",
                    swap_text(limits, is_v2), !limits.memory_swap_bytes});
  if (limits.cpu_shares) {
    // systemd's and runc's way from 2..262144 to 1..10000.
    int64_t shares = std::clamp<int64_t>(*limits.cpu_shares, 2, 262144);
    list.push_back({fmt::format("cpu-shares={}", *limits.cpu_shares), "cpu",
                    is_v2 ? "cpu.weight" : "cpu.shares",
                    std::to_string(is_v2 ? 1 + (shares - 2) * 9999 / 262142 : shares)});
  }
  constexpr int64_t kUsualPeriod = 100'000;
  if (limits.cpu_quota_us || limits.cpu_period_us) {
    std::string name = fmt::format("cpu-quota={} cpu-period={}", limits.cpu_quota_us.value_or(-1),
                                   limits.cpu_period_us.value_or(kUsualPeriod));
    std::string quota = limits.cpu_quota_us && *limits.cpu_quota_us > 0 ? std::to_string(*limits.cpu_quota_us)
                        : is_v2                                         ? "max"
                                                                        : "-1";
    std::string period = std::to_string(limits.cpu_period_us.value_or(kUsualPeriod));
    if (is_v2) {
      list.push_back({name, "cpu", "cpu.max", quota + " " + period});
    } else {
      list.push_back({name, "cpu", "cpu.cfs_period_us", period});
      list.push_back({name, "cpu", "cpu.cfs_quota_us", quota});
    }
  }
  if (!limits.cpuset_cpus.empty())
    list.push_back({"cpuset-cpus=" + limits.cpuset_cpus, "cpuset", "cpuset.cpus", limits.cpuset_cpus});
  if (!limits.cpuset_mems.empty())
    list.push_back({"cpuset-mems=" + limits.cpuset_mems, "cpuset", "cpuset.mems", limits.cpuset_mems});
  return list;
}

// "build.slice" is /build.slice, "build-ci.slice" /build.slice/build-ci.slice (systemd.slice(5)).
std::string parent_path(const std::string& parent) {
  if (parent.find('/') != std::string::npos || !parent.ends_with(".slice")) return RootfsPath(parent).str();
  std::string path, prefix;
  for (const std::string& part : split(std::string_view(parent).substr(0, parent.size() - 6), '-')) {
    prefix += (prefix.empty() ? "" : "-") + part;
    path += (path.empty() ? "" : "/") + prefix + ".slice";
  }
  return path;
}

// Groups of builds that were killed. One in use cannot be removed.
void sweep(const std::string& parent) {
  DIR* stream = opendir(parent.c_str());
  if (!stream) return;
  while (dirent* item = readdir(stream)) {
    std::string_view name = item->d_name;
    if (!name.starts_with("corten-")) continue;
    auto pid = parse_int(name.substr(7, name.find('-', 7) - 7));
    if (pid && kill(static_cast<pid_t>(*pid), 0) != 0 && errno == ESRCH)
      unlinkat(dirfd(stream), item->d_name, AT_REMOVEDIR);
  }
  closedir(stream);
}

// The second version hands controllers down only where that was said, and only from groups without processes.
bool hands_down(const std::string& parent, const std::set<std::string>& controllers) {
  std::string given = read_text(parent + "/cgroup.subtree_control");
  for (const std::string& controller : controllers)
    if (!has_word(given, controller) &&
        write_value(parent + "/cgroup.subtree_control", "+" + controller) != 0)
      return false;
  return true;
}

std::vector<std::string> candidates(const CgroupHierarchy& hierarchy, const ResourceLimits& limits) {
  if (!limits.cgroup_parent.empty()) {
    std::string path = hierarchy.mount + "/" + parent_path(limits.cgroup_parent);
    return {path};
  }
  if (!hierarchy.is_v2) return {hierarchy.own};
  std::vector<std::string> list;
  for (std::string at = hierarchy.own; at.size() >= hierarchy.mount.size(); at = HostPath{at}.parent())
    list.push_back(at);
  return list;
}

struct Refusal {
  std::string where;
  int error = 0;
};

[[noreturn]] void refuse(const std::string& limit, const std::string& controller, const Refusal& refusal) {
  std::string why = refusal.where.empty()
                        ? fmt::format("no control group here has the controller {}", controller)
                        : fmt::format("{}: {}", refusal.where, to_lower(errno_text(refusal.error)));
  throw Error(ErrorCode::kUnsupported, fmt::format("{} cannot be enforced: {}", limit, why))
      .with_hint(
          "build where control groups are delegated, as 'systemd-run --user --scope -p Delegate=yes corten "
          "...' or as root; or without the limit");
}

int put_into_group(Child&, const Operation& op) {
  return write(op.fd, "0", 1) == 1 ? 0 : -errno;
}

}  // namespace

void parse_resource(std::string_view text, ResourceLimits& limits) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const std::string& part : split(text, ',')) {
    size_t equals = part.find('=');
    if (equals != std::string::npos)
      pairs.emplace_back(trim(part.substr(0, equals)), trim(part.substr(equals + 1)));
    else if (!pairs.empty() && pairs.back().first.starts_with("cpuset-"))
      pairs.back().second += "," + part;
    else
      fail(ErrorCode::kUsage, "invalid resource {}: it has the form KEY=VALUE", quote(part));
  }
  for (const auto& [key, value] : pairs) set_resource(to_lower(key), value, limits);
}

std::string limits_text(const ResourceLimits& limits) {
  std::vector<std::string> words;
  for (const Setting& setting : settings_of(limits, true))
    if (!setting.may_be_missing) words.push_back(setting.limit);
  if (!limits.cgroup_parent.empty()) words.push_back("cgroup-parent=" + limits.cgroup_parent);
  return join(words, " ");
}

std::vector<CgroupHierarchy> parse_hierarchies(std::string_view mountinfo, std::string_view cgroup) {
  std::vector<CgroupHierarchy> found;
  for (const std::string& line : split(mountinfo, '\n')) {
    std::vector<std::string> words = split_words(line);
    size_t dash = 0;
    while (dash < words.size() && words[dash] != "-") dash++;
    if (dash < 6 || dash + 3 >= words.size()) continue;
    CgroupHierarchy hierarchy;
    hierarchy.is_v2 = words[dash + 1] == "cgroup2";
    if (!hierarchy.is_v2 && words[dash + 1] != "cgroup") continue;
    const std::string& root = words[3];
    hierarchy.mount = words[4];
    if (!hierarchy.is_v2)
      for (const std::string& option : split(words[dash + 3], ',')) hierarchy.controllers.insert(option);
    for (const std::string& own : split(cgroup, '\n')) {
      size_t first = own.find(':'), second = own.find(':', first + 1);
      if (first == std::string::npos || second == std::string::npos) continue;
      std::vector<std::string> names =
          split(std::string_view(own).substr(first + 1, second - first - 1), ',');
      bool is_it = hierarchy.is_v2 ? own.starts_with("0::") : hierarchy.controllers.contains(names.front());
      if (!is_it || (!hierarchy.is_v2 && names.front().empty())) continue;
      std::string path = own.substr(second + 1);
      // At the end of a name: a hierarchy of /docker/1 does not hold /docker/12.
      if (root != "/" && (path + "/").starts_with(root + "/")) path.erase(0, root.size());
      // Beyond the root of our cgroup namespace: as good as the root.
      if (!path.starts_with('/') || path == "/" || (path + "/").find("/../") != std::string::npos)
        path.clear();
      hierarchy.own = hierarchy.mount + path;
    }
    if (!hierarchy.own.empty()) found.push_back(std::move(hierarchy));
  }
  return found;
}

ControlGroup ControlGroup::make(const ResourceLimits& limits) {
  return make(limits, parse_hierarchies(read_text("/proc/self/mountinfo"), read_text("/proc/self/cgroup")),
              {});
}

ControlGroup ControlGroup::make(const ResourceLimits& limits, std::span<const CgroupHierarchy> hierarchies,
                                const std::function<void(const std::string&)>& made) {
  static std::atomic<int> counter = 0;
  ControlGroup group;
  std::string name = fmt::format("corten-{}-{}", getpid(), ++counter);
  // What each hierarchy is to do: of a controller that two have the second version's wins.
  std::vector<Setting> todo = settings_of(limits, true);
  std::set<std::string> missing;
  for (const Setting& setting : todo) missing.insert(setting.controller);
  Refusal refusal;
  auto enter = [&](const CgroupHierarchy& hierarchy, const std::set<std::string>& controllers) {
    for (const std::string& parent : candidates(hierarchy, limits)) {
      if (!limits.cgroup_parent.empty()) {
        std::string at = hierarchy.mount;
        for (const std::string& part : RootfsPath(parent_path(limits.cgroup_parent)).components()) {
          if (hierarchy.is_v2) hands_down(at, controllers);
          at += "/" + part;
          if (mkdir(at.c_str(), 0755) == 0 && made) made(at);
        }
      }
      if (hierarchy.is_v2 &&
          (access((parent + "/cgroup.procs").c_str(), W_OK) != 0 || !hands_down(parent, controllers))) {
        refusal = {parent, errno ? errno : EACCES};
        continue;
      }
      sweep(parent);
      std::string directory = parent + "/" + name;
      if (mkdir(directory.c_str(), 0755) != 0) {
        refusal = {parent, errno};
        continue;
      }
      group.groups_.push_back({directory, hierarchy.is_v2, {}});
      if (made) made(directory);
      // A cpuset of the first version is empty until it is told.
      if (!hierarchy.is_v2 && hierarchy.controllers.contains("cpuset"))
        for (const char* file : {"/cpuset.cpus", "/cpuset.mems"})
          if (read_text(directory + file).empty()) write_value(directory + file, read_text(parent + file));
      for (const Setting& setting : settings_of(limits, hierarchy.is_v2)) {
        if (!controllers.contains(setting.controller)) continue;
        int error = write_value(directory + "/" + setting.file, setting.value);
        if (error && !(setting.may_be_missing && (error == ENOENT || error == EINVAL)))
          refuse(setting.limit, setting.controller, {directory + "/" + setting.file, error});
      }
      group.groups_.back().entrance =
          UniqueFd(open((directory + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
      if (!group.groups_.back().entrance)
        refuse(limits_text(limits), "", {directory + "/cgroup.procs", errno});
      return true;
    }
    return false;
  };
  for (const CgroupHierarchy& hierarchy : hierarchies) {
    if (!hierarchy.is_v2) continue;
    std::set<std::string> here;
    std::string given = read_text(hierarchy.mount + "/cgroup.controllers");
    for (const std::string& controller : missing)
      if (has_word(given, controller)) here.insert(controller);
    if (here.empty() && (limits.cgroup_parent.empty() || !todo.empty())) continue;
    if (enter(hierarchy, here))
      for (const std::string& controller : here) missing.erase(controller);
  }
  for (const CgroupHierarchy& hierarchy : hierarchies) {
    if (hierarchy.is_v2) continue;
    std::set<std::string> here;
    for (const std::string& controller : missing)
      if (hierarchy.controllers.contains(controller)) here.insert(controller);
    bool is_asked = !limits.cgroup_parent.empty() && hierarchy.controllers.contains("memory");
    if (here.empty() && !is_asked) continue;
    if (enter(hierarchy, here))
      for (const std::string& controller : here) missing.erase(controller);
  }
  for (const Setting& setting : todo)
    if (missing.contains(setting.controller)) refuse(setting.limit, setting.controller, refusal);
  if (limits.any() && group.groups_.empty()) refuse(limits_text(limits), "memory", refusal);
  return group;
}

ControlGroup::~ControlGroup() {
  for (Group& group : groups_) {
    group.entrance.reset();
    // A process that was killed leaves its group a moment after it could be waited for.
    for (int tries = 0; rmdir(group.directory.c_str()) != 0 && errno == EBUSY && tries < 50; tries++)
      usleep(10'000);
  }
}

std::vector<int> ControlGroup::entrances() const {
  std::vector<int> list;
  for (const Group& group : groups_) list.push_back(group.entrance.get());
  return list;
}

static uint64_t field(const std::string& text, std::string_view name) {
  for (const std::string& line : split(text, '\n')) {
    std::vector<std::string> words = split_words(line);
    if (words.size() == 2 && words[0] == name) return static_cast<uint64_t>(parse_int(words[1]).value_or(0));
  }
  return 0;
}

ControlGroup::Use ControlGroup::use() const {
  Use use;
  for (const Group& group : groups_) {
    auto peak =
        parse_int(read_text(group.directory + (group.is_v2 ? "/memory.peak" : "/memory.max_usage_in_bytes")));
    if (peak) use.peak_bytes = static_cast<uint64_t>(*peak);
    use.killed += field(read_text(group.directory + (group.is_v2 ? "/memory.events" : "/memory.oom_control")),
                        "oom_kill");
  }
  return use;
}

uint64_t machine_out_of_memory_kills() {
  return field(read_text("/proc/vmstat"), "oom_kill");
}

void plan_cgroup(const Spec& spec, Plan& plan) {
  for (int entrance : spec.cgroup_entrances) {
    Operation op{.apply = put_into_group, .what = "put the process into its control group"};
    op.fd = entrance;
    plan.add(std::move(op));
  }
}

}  // namespace corten::sandbox
