#include "container/network.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/core.h>

#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "base/subprocess.h"

namespace corten::container {

namespace {

constexpr int64_t kPatience_ns = 5'000'000'000;
constexpr const char* kSlirpResolver = "10.0.2.3";
constexpr const char* kPastaResolver = "169.254.1.1";

// The namespace is the helper's descriptor 3: it looks at itself there, which it may whatever privileges it
// has dropped.
constexpr const char* kNamespacePath = "/proc/self/fd/3";

pid_t start_helper(std::vector<std::string> argv, int network_namespace) {
  std::string program = find_program(argv[0]);
  std::vector<char*> words;
  for (std::string& word : argv) words.push_back(word.data());
  words.push_back(nullptr);
  pid_t parent = getpid();
  pid_t pid = fork();
  if (pid < 0) fail_errno("fork");
  if (pid > 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (getppid() != parent) _exit(1);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);  // pasta takes an ignored one, as commands have it, for a failure of its own
  int null = open("/dev/null", O_RDWR);
  for (int fd : {0, 1, 2}) dup2(null, fd);
  if (network_namespace == 3)
    fcntl(3, F_SETFD, 0);
  else
    dup2(network_namespace, 3);
  execv(program.c_str(), words.data());
  _exit(127);
}

// An interface besides lo, up.
bool has_interface(int network_namespace) {
  bool found = false;
  std::thread looker([&] {
    if (setns(network_namespace, CLONE_NEWNET) != 0) return;
    if (struct if_nameindex* all = if_nameindex()) {
      for (auto* one = all; one->if_index != 0; one++)
        found = found || std::string_view(one->if_name) != "lo";
      if_freenameindex(all);
    }
  });
  looker.join();
  return found;
}

bool is_gone(pid_t pid) {
  return waitpid(pid, nullptr, WNOHANG) == pid;
}

void end_helper(pid_t pid) {
  kill(pid, SIGKILL);
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

bool wait_for_interface(pid_t& pid, int network_namespace) {
  for (int64_t end = monotonic_ns() + kPatience_ns; monotonic_ns() < end; usleep(5'000)) {
    if (is_gone(pid)) {
      pid = -1;
      return false;
    }
    if (has_interface(network_namespace)) return true;
  }
  return false;
}

}  // namespace

bool Outward::is_likely() {
  if (find_program("pasta").empty() && find_program("slirp4netns").empty()) return false;
  return UniqueFd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC)).is_open();
}

Outward Outward::open(int network_namespace) {
  if (!is_likely()) return {};
  // We are root of our user namespace already: neither program is to make or join another, nor to become
  // nobody in it.
  struct Way {
    std::vector<std::string> argv;
    const char* resolver;
  };
  const Way ways[] = {
      {{"pasta",         "--foreground", "--quiet", "--config-net", "--netns-only", "--runas",     "0:0",
        "--dns-forward", kPastaResolver, "-t",      "none",         "-u",           "none",        "-T",
        "none",          "-U",           "none",    "--no-map-gw",  "--netns",      kNamespacePath},
       kPastaResolver},
      {{"slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", "--netns-type=path",
        kNamespacePath, "tap0"},
       kSlirpResolver}};
  for (const Way& way : ways) {
    if (find_program(way.argv[0]).empty()) continue;
    pid_t pid = start_helper(way.argv, network_namespace);
    if (wait_for_interface(pid, network_namespace)) {
      Outward outward;
      outward.program_ = way.argv[0];
      outward.resolver_ = fmt::format("nameserver {}\n", way.resolver);
      outward.pid_ = pid;
      return outward;
    }
    if (pid > 0) end_helper(pid);
  }
  return {};
}

Outward::Outward(Outward&& other) noexcept {
  *this = std::move(other);
}

Outward& Outward::operator=(Outward&& other) noexcept {
  std::swap(program_, other.program_);
  std::swap(resolver_, other.resolver_);
  std::swap(pid_, other.pid_);
  return *this;
}

Outward::~Outward() {
  if (pid_ > 0) end_helper(pid_);
}

void enter_network(int network_namespace) {
  if (setns(network_namespace, CLONE_NEWNET) != 0) fail_errno("enter the container's network namespace");
}

std::string machine_resolver() {
  try {
    return read_file("/etc/resolv.conf", 1 << 20);
  } catch (const Error&) {
    return "";  // a machine without a resolver: the container has none either
  }
}

}  // namespace corten::container
