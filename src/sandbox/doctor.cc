// What this machine gives, found by doing it: one child climbs as a build would and tries each thing there;
// its findings come back through a pipe, so whatever breaks, breaks there.
#include "sandbox/doctor.h"

#include <fcntl.h>
#include <linux/mount.h>
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

Finding privilege_finding(Rung rung) {
  Finding finding{
      .state = State::kOk, .subject = "privilege", .what = std::string(rung_name(rung)), .climb = {}};
  if (rung == Rung::kRoot || rung == Rung::kRange) return finding;
  finding.state = rung == Rung::kNothing ? State::kMissing : State::kLimited;
  for (const Finding& why : in_child([]() -> std::vector<Finding> {
         const Entered entered = enter();
         std::vector<Finding> list;
         for (const Obstacle& obstacle : entered.obstacles)
           list.push_back(
               {.state = State::kLimited, .subject = {}, .what = obstacle.what, .climb = obstacle.climb});
         return list;
       })) {
    finding.what += "; " + why.what;
    finding.climb = why.climb;
  }
  return finding;
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

std::string try_overlay(const std::string& place) {
  TempDir directory = TempDir::make(place, ".corten-examine-");
  for (const char* name : {"lower", "lower/dir", "upper", "work"}) make_directories_on_host(directory / name);
  UniqueFd mount = make_overlay({.lowers = {{.path = {directory / "lower"}, .fd = -1}},
                                 .upper = {directory / "upper"},
                                 .work = {directory / "work"},
                                 .memory_bytes = std::nullopt,
                                 .attributes = 0},
                                "overlay");
  // The trap of a plain overlay in a user namespace: it mounts, and this fails.
  if (unlinkat(mount.get(), "dir", AT_REMOVEDIR) != 0 || mkdirat(mount.get(), "dir", 0755) != 0)
    fail_errno("replace a directory");
  return "writable layers here";
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
  const std::string place = nearest_directory(store).value;
  findings.push_back(
      attempt("overlay on the store", State::kLimited, "", [&] { return try_overlay(place); }));
  findings.push_back(attempt("overlay in memory", State::kMissing, "", [] {
    TempDir directory = TempDir::make("/tmp", "corten-examine-");
    mount_memory({directory.path()});
    std::string what = try_overlay(directory.path());
    unmount({directory.path()});
    return what;
  }));
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
  std::vector<Finding> findings{privilege_finding(rung)};
  if (rung != Rung::kRoot) findings.push_back(newuidmap_finding());
  findings.push_back(store_finding(store));
  if (rung <= Rung::kOneId)
    for (Finding& finding : in_child([&] { return inside(store); })) findings.push_back(std::move(finding));
  if (rung <= Rung::kOneId)
    for (Finding& finding : in_child(other_platforms)) findings.push_back(std::move(finding));
  findings.push_back(landlock_finding());
  findings.push_back(cgroup_finding());
  return findings;
}

}  // namespace corten::sandbox
