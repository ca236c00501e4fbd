// `exec`: one more process in a running container.
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "container/box.h"
#include "container/commands.h"
#include "container/event_loop.h"
#include "sandbox/process.h"

namespace corten::container {

namespace {

std::vector<std::string> with_our_values(const std::vector<std::string>& environment) {
  std::vector<std::string> all;
  for (const std::string& text : environment) {
    const char* value = text.find('=') == text.npos ? getenv(text.c_str()) : nullptr;
    if (text.find('=') != text.npos)
      all.push_back(text);
    else if (value)
      all.push_back(text + "=" + value);
  }
  return all;
}

// Waits for its end and hands it the signals that we get.
sandbox::Exit attend(sandbox::Process& process) {
  EventLoop loop;
  sigset_t set;
  sigemptyset(&set);
  for (int number : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH}) sigaddset(&set, number);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  UniqueFd signals(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals) fail_errno("take signals");
  loop.watch(signals.get(), EPOLLIN, [&](uint32_t) {
    signalfd_siginfo info;
    while (read(signals.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info))
      process.signal(static_cast<int>(info.ssi_signo));
  });
  bool is_over = false;
  loop.watch(process.pidfd(), EPOLLIN, [&](uint32_t) { is_over = true; });
  while (!is_over) loop.run_once();
  loop.forget(process.pidfd());
  return process.wait();
}

}  // namespace

int exec_command(const ExecOptions& options, Context& context) {
  if (options.terminal && options.interactive && !isatty(0))
    throw Error(ErrorCode::kUsage, "the input device is not a TTY").with_hint("leave -t out");
  Container container = Container::find(options.container, context.store);
  if (!container.is_running())
    throw Error(ErrorCode::kInvalid, fmt::format("container {} is not running ({})", container.spec().name,
                                                 status_name(container.status())))
        .with_hint("'corten ps -a' tells how it ended");
  auto state = container.state();
  UniqueFd init = state ? state->init.open() : UniqueFd();
  if (!init)
    fail(ErrorCode::kInvalid, "container {} is not running: it ended this moment", container.spec().name);
  context.store.release();
  const sandbox::Entered entered = sandbox::enter_of(state->monitor.pid);
  JoinOptions join{.argv = options.command,
                   .environment = with_our_values(options.environment),
                   .user = options.user,
                   .directory = options.directory};
  if (options.terminal) join.environment.insert(join.environment.begin(), "TERM=xterm");
  sandbox::Spec spec = join_spec(container.spec(), join, init.get(), state->init.pid);
  spec.one_id = entered.records_owners();
  spec.stdin_fd = options.interactive ? 0 : -1;
  sandbox::Process process = sandbox::Process::start(spec);
  sandbox::Exit exit = attend(process);
  if (!exit.exec_error.empty())
    context.err("ERROR: exec failed: unable to start container process: " + printable(exit.exec_error) +
                "\n");
  return exit.code;
}

}  // namespace corten::container
