#include "base/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/path.h"
#include "base/thread_pool.h"
#include "base/unique_fd.h"

extern char** environ;

namespace corten {

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return access(name.c_str(), X_OK) == 0 ? name : "";
  const char* path = getenv("PATH");
  std::string_view rest = path ? path : "/usr/sbin:/usr/bin:/sbin:/bin";
  while (true) {
    size_t end = std::min(rest.find(':'), rest.size());
    std::string candidate = std::string(rest.substr(0, end)) + "/" + name;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
    if (end == rest.size()) return "";
    rest.remove_prefix(end + 1);
  }
}

std::string helper_program(const std::string& name) {
  std::string self(4096, '\0');
  ssize_t n = readlink("/proc/self/exe", self.data(), self.size());
  if (n < 0) fail_errno("find our own binary");
  self.resize(static_cast<size_t>(n));
  std::string directory = HostPath{self}.parent();
  for (const std::string& place :
       {directory + "/libexec/corten/" + name, HostPath{directory}.parent() + "/libexec/corten/" + name})
    if (access(place.c_str(), X_OK) == 0) return place;
  throw Error(ErrorCode::kNotFound, fmt::format("helper program {}: not found beside {}", name, self))
      .with_hint(fmt::format("install it as {}/libexec/corten/{}", directory, name));
}

namespace {

// What posix_spawn needs, released whatever happens.
struct SpawnPlan {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  SpawnPlan() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
};

// A helper may end before it has read its input: that must be an error code here, not a SIGPIPE.
ssize_t send_bytes(int fd, std::string_view bytes) {
  sigset_t pipe_signal, old;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe_signal, &old);
  ssize_t n = write(fd, bytes.data(), bytes.size());
  int saved = errno;
  if (n < 0 && saved == EPIPE && !sigismember(&old, SIGPIPE)) {
    timespec zero{};
    sigtimedwait(&pipe_signal, nullptr, &zero);
  }
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  errno = saved;
  return n;
}

void drain(UniqueFd& fd, std::string& into, size_t max_bytes, const std::string& program) {
  char buffer[16 << 10];
  ssize_t n = read(fd.get(), buffer, sizeof buffer);
  if (n < 0 && errno == EINTR) return;
  if (n <= 0) {
    fd.reset();
    return;
  }
  if (into.size() + static_cast<size_t>(n) > max_bytes)
    fail(ErrorCode::kFailed, "{}: more than {} bytes of output", program, max_bytes);
  into.append(buffer, static_cast<size_t>(n));
}

// Gently: it leads a group, whose members are asked to end with it; after two seconds they are made to.
void end_child(pid_t pid, bool gently) {
  int status = 0;
  for (int left = gently ? 40 : 0; left > 0; left--) {
    if (left == 40) kill(-pid, SIGTERM);
    pid_t ended = waitpid(pid, &status, WNOHANG);
    if (ended == pid || (ended < 0 && errno != EINTR)) return;
    usleep(50'000);
  }
  kill(gently ? -pid : pid, SIGKILL);
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace

SubprocessResult run_subprocess(const std::vector<std::string>& argv, const SubprocessOptions& options) {
  std::string program = find_program(argv.at(0));
  if (program.empty())
    throw Error(ErrorCode::kNotFound, fmt::format("{}: program not found", argv[0]))
        .with_hint("install it, or add its directory to PATH");

  Pipe in = make_pipe(), out = make_pipe(), err = make_pipe();
  SpawnPlan plan;
  posix_spawn_file_actions_adddup2(&plan.actions, in.read.get(), 0);
  posix_spawn_file_actions_adddup2(&plan.actions, out.write.get(), 1);
  posix_spawn_file_actions_adddup2(&plan.actions, err.write.get(), 2);
  if (!options.directory.empty())
    posix_spawn_file_actions_addchdir_np(&plan.actions, options.directory.c_str());
  sigset_t none, defaults;
  sigemptyset(&none);
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigmask(&plan.attributes, &none);
  posix_spawnattr_setsigdefault(&plan.attributes, &defaults);
  bool is_gentle = options.cancellation || options.silence_ms || options.limit_ms;
  posix_spawnattr_setpgroup(&plan.attributes, 0);
  posix_spawnattr_setflags(&plan.attributes,
                           static_cast<short>(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                              (is_gentle ? POSIX_SPAWN_SETPGROUP : 0)));

  std::vector<std::string> environment;
  for (char** e = environ; options.inherits_environment && *e; e++) {
    std::string entry = *e;
    if (!options.environment.contains(entry.substr(0, entry.find('='))))
      environment.push_back(std::move(entry));
  }
  for (const auto& [name, value] : options.environment) environment.push_back(name + "=" + value);
  std::vector<char*> args, envs;
  for (const std::string& a : argv) args.push_back(const_cast<char*>(a.c_str()));
  for (const std::string& e : environment) envs.push_back(const_cast<char*>(e.c_str()));
  args.push_back(nullptr);
  envs.push_back(nullptr);

  pid_t pid = 0;
  if (int error =
          posix_spawn(&pid, program.c_str(), &plan.actions, &plan.attributes, args.data(), envs.data()))
    throw errno_error(error, "start " + program);
  in.read.reset();
  out.write.reset();
  err.write.reset();
  if (options.max_file_bytes) {
    // It has hardly begun: what it starts itself inherits the limit.
    rlimit limit{options.max_file_bytes, options.max_file_bytes};
    prlimit(pid, RLIMIT_FSIZE, &limit, nullptr);
  }

  SubprocessResult result;
  int status = 0;
  const int64_t begin = monotonic_ns();
  auto check_limit = [&] {
    if (options.limit_ms && monotonic_ns() - begin > int64_t{options.limit_ms} * 1'000'000)
      fail(ErrorCode::kIo, "{}: it has not ended after {} s", argv[0], options.limit_ms / 1000);
  };
  try {
    std::string_view input = options.input;
    fcntl(in.write.get(), F_SETFL, O_NONBLOCK);
    if (input.empty()) in.write.reset();
    int64_t last_word = monotonic_ns();
    while (out.read || err.read || in.write) {
      pollfd fds[] = {{out.read.get(), POLLIN, 0}, {err.read.get(), POLLIN, 0}, {in.write.get(), POLLOUT, 0}};
      int ready = poll(fds, 3, is_gentle ? 100 : -1);
      if (ready < 0) {
        if (errno == EINTR) continue;
        fail_errno("wait for {}", argv[0]);
      }
      if (options.cancellation) options.cancellation->check();
      if (ready > 0) last_word = monotonic_ns();
      if (options.silence_ms && monotonic_ns() - last_word > int64_t{options.silence_ms} * 1'000'000)
        fail(ErrorCode::kIo, "{}: nothing came for {} s", argv[0], options.silence_ms / 1000);
      check_limit();
      if (out.read && fds[0].revents) drain(out.read, result.output, options.max_output_bytes, argv[0]);
      if (err.read && fds[1].revents) drain(err.read, result.error_output, options.max_output_bytes, argv[0]);
      if (in.write && fds[2].revents) {
        ssize_t n = send_bytes(in.write.get(), input);
        if (n > 0) input.remove_prefix(static_cast<size_t>(n));
        if (input.empty() || (n < 0 && errno != EAGAIN && errno != EINTR)) in.write.reset();
      }
    }
    // It may have closed its outputs and go on.
    while (options.limit_ms) {
      const pid_t ended = waitpid(pid, &status, WNOHANG);
      if (ended == pid) break;
      if (ended < 0 && errno != EINTR) fail_errno("wait for {}", argv[0]);
      check_limit();
      usleep(10'000);
    }
  } catch (...) {
    end_child(pid, is_gentle);
    throw;
  }
  while (!options.limit_ms && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  result.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return result;
}

}  // namespace corten
