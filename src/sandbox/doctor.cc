// What this machine gives, found by doing it: one child climbs as a build would and tries each thing there;
// its findings come back through a pipe, so whatever breaks, breaks there.
#include "sandbox/doctor.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

#include "base/beneath.h"
#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/subprocess.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "sandbox/cgroup.h"
#include "sandbox/detached.h"
#include "sandbox/emulation.h"
#include "sandbox/kernel.h"
#include "sandbox/landlock.h"
#include "sandbox/network.h"
#include "sandbox/privilege.h"
#include "sandbox/process.h"
#include "sandbox/uppers.h"

namespace corten::sandbox {

namespace {

using State = Finding::State;
constexpr uint32_t kUsualIds = 65536;
constexpr int kScopeAbi = 6;

Json to_json(const Finding& finding) {
  return Json::object({{"state", static_cast<int>(finding.state)},
                       {"subject", finding.subject},
                       {"what", finding.what},
                       {"climb", finding.climb}});
}

Finding from_json(const Json& json) {
  return {.state = static_cast<State>(json.get_int("state")),
          .subject = json.get_string("subject"),
          .what = json.get_string("what"),
          .climb = json.get_string("climb")};
}

std::vector<Finding> in_child(const std::function<std::vector<Finding>()>& attempt) {
  Pipe pipe = make_pipe();
  const pid_t pid = fork();
  if (pid < 0) fail_errno("fork");
  if (pid == 0) {
    pipe.read.reset();
    Json list = Json::array();
    try {
      for (const Finding& finding : attempt()) list.push_back(to_json(finding));
    } catch (const Error& error) {
      list.push_back(to_json(
          {.state = State::kMissing, .subject = "examination", .what = error.what(), .climb = error.hint()}));
    } catch (const std::exception& error) {
      list.push_back(
          to_json({.state = State::kMissing, .subject = "examination", .what = error.what(), .climb = {}}));
    }
    const std::string text = list.dump();
    _exit(::write(pipe.write.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : 1);
  }
  pipe.write.reset();
  const std::string text = read_all(pipe.read.get(), "examination", 1 << 20);
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  std::vector<Finding> findings;
  if (text.empty())
    return {
        {.state = State::kMissing, .subject = "examination", .what = "ended without a word", .climb = {}}};
  const Json list = Json::parse(text);
  for (const Json& json : list.as_array()) findings.push_back(from_json(json));
  return findings;
}

// Turns what is thrown into a finding.
Finding attempt(std::string subject, State when_failed, const std::string& climb,
                const std::function<std::string()>& body) {
  Finding finding{.state = State::kOk, .subject = std::move(subject), .what = {}, .climb = {}};
  try {
    finding.what = body();
  } catch (const Error& error) {
    finding.state = when_failed;
    finding.what = error.what();
    finding.climb = climb.empty() ? error.hint() : climb;
  }
  return finding;
}

// The rung, and below it each better one that was not reached, with the line that climbs to it.
std::vector<Finding> privilege_findings(Rung rung) {
  const bool is_good = rung == Rung::kRoot || rung == Rung::kRange;
  std::vector<Finding> findings = in_child([&]() -> std::vector<Finding> {
    const Entered entered = enter();
    Finding reached{.state = is_good                  ? State::kOk
                             : rung == Rung::kNothing ? State::kMissing
                                                      : State::kLimited,
                    .subject = "privilege",
                    .what = std::string(rung_name(entered.rung)),
                    .climb = {}};
    if (std::string limits = limits_of(entered); !limits.empty()) reached.what += "; " + limits;
    std::vector<Finding> list{reached};
    if (!is_good)
      for (const Obstacle& obstacle : entered.obstacles)
        list.push_back({.state = State::kLimited,
                        .subject = "privilege",
                        .what = fmt::format("not {}: {}", rung_name(obstacle.rung), obstacle.what),
                        .climb = obstacle.climb});
    return list;
  });
  return findings;
}

Finding ids_finding(const IdMapping& mapping) {
  const uint32_t count = mapping.usable_ids();
  Finding finding{.state = State::kOk,
                  .subject = "ids",
                  .what = fmt::format("{} ids ({})", count, mapping.to_string()),
                  .climb = {}};
  if (mapping.to_string() == "root") finding.what = "all ids";
  if (count == 1) {
    finding.what = fmt::format("one id ({}); others are recorded for the layers", mapping.to_string());
  } else if (count < kUsualIds) {
    finding.state = State::kLimited;
    finding.what += "; images whose files belong to higher ids cannot be unpacked";
    finding.climb = "give a range of 65536 in /etc/subuid and /etc/subgid";
  }
  return finding;
}

HostPath nearest_directory(HostPath path) {
  while (!path_exists(path.value) && path.value.size() > 1) path.value = path.parent();
  return path;
}

Finding file_system_finding(const Entered& entered, const std::string& place) {
  const FoundUppers found = find_uppers(entered, {place});
  Finding finding{.state = found.uppers == Uppers::kOnStore ? State::kOk : State::kLimited,
                  .subject = "file system",
                  .what = fmt::format("steps write to {}", uppers_name(found.uppers)),
                  .climb = found.climb};
  if (!found.why.empty()) finding.what += "; " + found.why;
  return finding;
}

// In a pid namespace of its own; a machine that is a container may refuse it.
Finding proc_finding() {
  const bool is_fresh = [] {
    const pid_t pid = fork();
    if (pid < 0) return false;
    if (pid == 0) {
      if (unshare(CLONE_NEWPID) != 0) _exit(1);
      const pid_t first = fork();
      if (first == 0) {
        UniqueFd context(static_cast<int>(syscall(SYS_fsopen, "proc", FSOPEN_CLOEXEC)));
        _exit(!is_forbidden(Feature::kFreshProc) && context &&
                      syscall(SYS_fsconfig, context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0
                  ? 0
                  : 1);
      }
      int status = 1;
      waitpid(first, &status, 0);
      _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    }
    int status = 1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }();
  if (is_fresh)
    return {.state = State::kOk, .subject = "proc", .what = "a /proc of each step's own", .climb = {}};
  return {.state = State::kLimited,
          .subject = "proc",
          .what = "steps see the /proc that is here, masked: numbers of processes in it are not theirs",
          .climb = "in a container: --security-opt unmask=ALL (podman), systempaths=unconfined (Docker)"};
}

Finding newuidmap_finding() {
  return attempt("newuidmap", State::kMissing, "as root: apt-get install uidmap", [] {
    for (const char* program : {"newuidmap", "newgidmap"})
      if (find_program(program).empty()) fail(ErrorCode::kNotFound, "{}: not found", program);
    return std::string("found");
  });
}

Finding kernel_finding() {
  Finding finding{.state = State::kOk, .subject = "kernel", .what = {}, .climb = {}};
  std::vector<std::string> has, lacks;
  UniqueFd context(static_cast<int>(syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC)));
  UniqueFd root = open_file("/", O_PATH | O_DIRECTORY);
  auto note = [&](Feature feature, bool works) {
    (works ? has : lacks).push_back(std::string(feature_name(feature)));
  };
  note(Feature::kLowerdirPlus,
       !is_forbidden(Feature::kLowerdirPlus) && context &&
           syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_STRING, "lowerdir+", "/", 0) == 0);
  note(Feature::kOverlayFd,
       !is_forbidden(Feature::kOverlayFd) && context &&
           syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_FD, "lowerdir+", nullptr, root.get()) == 0);
  finding.what = "has " + (has.empty() ? std::string("none of the newer calls") : join(has, ", "));
  if (!lacks.empty()) {
    finding.state = State::kLimited;
    finding.what += "; lacks " + join(lacks, ", ") + " (older ways are used: stacks of some 200 layers)";
    finding.climb = "Linux 6.13 or later";
  }
  return finding;
}

Finding landlock_finding() {
  const int abi = landlock_abi();
  if (make_socket_scope().is_open())
    return {.state = State::kOk,
            .subject = "landlock",
            .what = fmt::format("ABI {}: abstract sockets are closed off", abi),
            .climb = {}};
  return {.state = State::kLimited,
          .subject = "landlock",
          .what = fmt::format(
              "ABI {}, of {} needed: a step on the host's network reaches the machine's abstract sockets",
              abi, kScopeAbi),
          .climb = "Linux 6.12 or later with landlock among its security modules, or RUN --network=none"};
}

Finding network_finding() {
  Finding finding = attempt("network", State::kMissing, "", [] {
    make_network_namespace();
    return std::string("namespaces of its own");
  });
  if (finding.state != State::kOk) return finding;
  UniqueFd tun(open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  if (tun) return finding;
  finding.state = State::kLimited;
  finding.what += "; /dev/net/tun does not open, so a container with -p cannot reach outward";
  finding.climb = "as root: modprobe tun (in a container: --device /dev/net/tun)";
  return finding;
}

Finding cgroup_finding() {
  if (path_exists("/sys/fs/cgroup/cgroup.controllers"))
    return {.state = State::kOk, .subject = "cgroup", .what = "version 2", .climb = {}};
  return {.state = State::kLimited,
          .subject = "cgroup",
          .what = "no version 2 at /sys/fs/cgroup: programs do not see the machine's limits",
          .climb = "boot with systemd.unified_cgroup_hierarchy=1"};
}

Finding limits_finding() {
  return attempt("limits", State::kLimited, "", [] {
    ResourceLimits limits;
    limits.memory_bytes = 1 << 30;
    limits.cpu_quota_us = 100'000;
    ControlGroup::make(limits);
    return std::string("memory and processor time of RUN steps can be bounded (--resource)");
  });
}

// A whole box: an empty root cannot execute anything, and that very answer shows that all of the setting up
// worked.
Finding box_finding(const Entered& entered) {
  return attempt("sandbox", State::kMissing, "", [&] {
    Spec spec;
    spec.one_id = entered.records_owners();
    spec.argv = {"/probe"};
    Process process = Process::start(spec);
    const Exit exit = process.wait();
    if (exit.exec_error.empty()) fail(ErrorCode::kInternal, "an empty root executed a program");
    return std::string("namespaces, mounts, capabilities and the system call filter work");
  });
}

Finding store_finding(const HostPath& store) {
  const HostPath place = nearest_directory(store);
  return attempt("store", State::kMissing, "", [&] {
    TempDir::make(place.value, ".corten-examine-");
    return fmt::format("{} can be written", store.value);
  });
}

std::vector<Finding> inside(const HostPath& store) {
  const Entered entered = enter();
  std::vector<Finding> findings{ids_finding(entered.mapping)};
  findings.push_back(file_system_finding(entered, nearest_directory(store).value));
  findings.push_back(proc_finding());
  findings.push_back(kernel_finding());
  findings.push_back(network_finding());
  findings.push_back(limits_finding());
  findings.push_back(box_finding(entered));
  return findings;
}

std::string own_architecture() {
  utsname name{};
  uname(&name);
  std::string machine = name.machine;
  if (machine == "x86_64") return "amd64";
  if (machine == "aarch64") return "arm64";
  if (machine == "loongarch64") return "loong64";
  return machine;
}

// RUN for other platforms: needed by few, so its lack is told as a limit, with the line that climbs.
std::vector<Finding> other_platforms() {
  std::vector<std::string> foreign;
  for (const std::string& architecture : known_architectures())
    if (architecture != own_architecture()) foreign.push_back(architecture);
  const Entered entered = enter_for({own_architecture() == "arm64" ? "amd64" : "arm64"}, {});
  std::vector<std::string> run;
  std::string why;
  for (const std::string& architecture : foreign)
    if (std::string reason = why_not_emulated(architecture, entered); reason.empty())
      run.push_back(architecture);
    else if (why.empty())
      why = reason;
  if (!run.empty())
    return {{.state = State::kOk,
             .subject = "other platforms",
             .what = fmt::format(
                 "RUN works for {}{}", join(run, ", "),
                 entered.in_own_user_namespace ? ", emulated in a user namespace of our own" : ""),
             .climb = {}}};
  return {{.state = State::kLimited,
           .subject = "other platforms",
           .what = "RUN for another processor is refused: " + why,
           .climb = "as root: apt-get install qemu-user-static binfmt-support; or cross-compile: FROM "
                    "--platform=$BUILDPLATFORM"}};
}

}  // namespace

std::vector<Finding> examine(const HostPath& store) {
  const Rung rung = probe_privilege();
  std::vector<Finding> findings = privilege_findings(rung);
  if (rung != Rung::kRoot) findings.push_back(newuidmap_finding());
  findings.push_back(store_finding(store));
  if (rung == Rung::kChrootOnly)
    findings.push_back(
        file_system_finding({.rung = rung, .mapping = {}, .in_own_user_namespace = false, .obstacles = {}},
                            nearest_directory(store).value));
  if (rung <= Rung::kOneId)
    for (Finding& finding : in_child([&] { return inside(store); })) findings.push_back(std::move(finding));
  if (rung <= Rung::kOneId)
    for (Finding& finding : in_child(other_platforms)) findings.push_back(std::move(finding));
  findings.push_back(landlock_finding());
  findings.push_back(cgroup_finding());
  return findings;
}

}  // namespace corten::sandbox
