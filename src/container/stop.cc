// `stop`, `kill`, `rm`, `wait`: how a container ends.
//
// Nobody asks the monitor: its container's process 1 is signalled through a pidfd whose start time was
// compared, and the end has come when the monitor has released its lock. So a monitor that hangs stands in
// nobody's way.
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>

#include <fmt/core.h>

#include "base/error.h"
#include "base/signals.h"
#include "base/strings.h"
#include "container/commands.h"

namespace corten::container {

namespace {

constexpr int kLastPatience_ms = 10'000;

int signal_number(const std::string& text) {
  auto number = parse_signal(text);
  if (!number || *number < 1 || *number > 64) fail(ErrorCode::kUsage, "invalid signal: {}", text);
  return *number;
}

void send_signal(const UniqueFd& process, int number, const Container& container) {
  if (!process) return;
  if (syscall(SYS_pidfd_send_signal, process.get(), number, nullptr, 0) != 0 && errno != ESRCH)
    fail_errno("signal container {}", container.spec().name);
}

bool is_gone(const UniqueFd& process, int timeout_ms) {
  if (!process) return true;
  pollfd waiting{.fd = process.get(), .events = POLLIN, .revents = 0};
  return poll(&waiting, 1, timeout_ms) == 1;
}

// SIGKILL to all of it; nothing of it runs afterwards.
void end_now(const Container& container, Container::Waiter& waiter) {
  auto state = container.state();
  if (!state) {
    if (!waiter.wait(kLastPatience_ms))
      fail(ErrorCode::kFailed, "container {}: is being started and does not come to an end",
           container.spec().name);
    state = container.state();
    if (!state) return;
  }
  if (state->boot != store::boot_id()) return;
  UniqueFd init = state->init.open(), monitor = state->monitor.open();
  send_signal(init, SIGKILL, container);
  if (!waiter.wait(kLastPatience_ms)) send_signal(monitor, SIGKILL, container);
  if (!is_gone(init, kLastPatience_ms) || !waiter.wait(kLastPatience_ms))
    throw Error(ErrorCode::kFailed, fmt::format("container {}: does not die", container.spec().name))
        .with_hint("a process of it hangs in the kernel (see 'ps -eo pid,stat,wchan,comm')");
}

void stop_one(const Container& container, const StopOptions& options) {
  Container::Waiter waiter(container);
  Status status = container.status();
  if (status == Status::kExited) return;
  auto state = container.state();
  if (status == Status::kRunning && state) {
    int number = options.signal.empty() ? container.spec().stop_signal : signal_number(options.signal);
    send_signal(state->init.open(), number, container);
    int64_t timeout_s = options.timeout_s.value_or(container.spec().stop_timeout_s);
    if (waiter.wait(timeout_s < 0 ? -1 : static_cast<int>(std::min<int64_t>(timeout_s, 1'000'000) * 1000)))
      return;
  }
  end_now(container, waiter);
}

void check_removable(const Container& container, bool force) {
  if (force || !container.is_running()) return;
  throw Error(ErrorCode::kInvalid, fmt::format("cannot remove container {}: container is running",
                                               quote("/" + container.spec().name)))
      .with_hint(fmt::format("stop it first, or force it: corten rm -f {}", container.spec().name));
}

// Does it for each and prints the names for which something was done; tells what failed and goes on.
int for_each(const std::vector<std::string>& names, Context& context,
             const std::function<bool(const std::string&)>& action) {
  int code = 0;
  for (const std::string& name : names) {
    try {
      if (action(name)) context.out(name + "\n");
    } catch (const Error& error) {
      if (names.size() == 1) throw;
      context.err(fmt::format("ERROR: {}\n", printable(error.what())));
      if (!error.hint().empty()) context.err(fmt::format("hint: {}\n", printable(error.hint())));
      code = 1;
    }
  }
  return code;
}

int wait_for_health(const Container& container, const WaitOptions& options, Context& context) {
  if (!HealthMachine::has_probe(container.spec().health))
    throw Error(ErrorCode::kInvalid, fmt::format("container {} has no health check", container.spec().name))
        .with_hint("HEALTHCHECK in its Dockerfile, or --health-cmd");
  Container::Waiter waiter(container);
  int64_t end = monotonic_ns() + options.timeout_s.value_or(INT32_MAX) * 1'000'000'000;
  while (true) {
    bool is_over = waiter.wait(100);
    HealthStatus health = container.health().status;
    if (health == HealthStatus::kHealthy) {
      context.out(container.spec().name + "\n");
      return 0;
    }
    bool is_late = monotonic_ns() >= end;
    if (!is_over && !is_late && health != HealthStatus::kUnhealthy) continue;
    context.err(fmt::format("ERROR: container {} {}\n", container.spec().name,
                            is_over   ? "ended before it was healthy"
                            : is_late ? "did not become healthy in time"
                                      : "is unhealthy"));
    context.err(explain_health(container));
    return 1;
  }
}

int wait_for_exit(const Container& container, const WaitOptions& options, Context& context) {
  Container::Waiter waiter(container);
  if (container.status() == Status::kCreated) waiter.wait(100);
  int timeout_ms =
      options.timeout_s ? static_cast<int>(std::min<int64_t>(*options.timeout_s, 1'000'000) * 1000) : -1;
  if (!waiter.wait(timeout_ms)) fail(ErrorCode::kFailed, "container {}: still runs", container.spec().name);
  auto record = waiter.record();
  if (!record) record = container.exit();
  if (!record)
    fail(ErrorCode::kFailed, "container {}: its monitor is gone, so nobody knows how it ended",
         container.spec().name);
  context.out(fmt::format("{}\n", record->code));
  return 0;
}

}  // namespace

int stop_command(const StopOptions& options, Context& context) {
  if (!options.signal.empty()) signal_number(options.signal);
  return for_each(options.containers, context, [&](const std::string& name) {
    stop_one(Container::find(name, context.store), options);
    return true;
  });
}

int kill_command(const KillOptions& options, Context& context) {
  int number = signal_number(options.signal);
  return for_each(options.containers, context, [&](const std::string& name) {
    Container container = Container::find(name, context.store);
    auto state = container.state();
    UniqueFd init = container.is_running() && state ? state->init.open() : UniqueFd();
    if (!init)
      fail(ErrorCode::kInvalid, "cannot kill container: {}: container {} is not running", name,
           container.spec().id);
    Container::Waiter waiter(container);
    send_signal(init, number, container);
    if (number == SIGKILL) waiter.wait(kLastPatience_ms);
    return true;
  });
}

int rm_command(const RemoveOptions& options, Context& context) {
  // All are dead before we climb: inside the user namespace we would no longer be the owner of theirs.
  std::vector<Container> dead;
  int code = for_each(options.containers, context, [&](const std::string& name) {
    try {
      Container container = Container::find(name, context.store);
      check_removable(container, options.force);
      Container::Waiter waiter(container);
      if (container.status() != Status::kExited || container.is_running()) end_now(container, waiter);
      waiter.wait(kLastPatience_ms);
      dead.push_back(container);
      return true;
    } catch (const Error& error) {
      if (!options.force || error.code() != ErrorCode::kNotFound) throw;
      context.err(fmt::format("{}\n", printable(error.what())));
      return false;
    }
  });
  if (dead.empty()) return code;
  context.enter();
  for (const Container& container : dead) container.remove_files();
  return code;
}

int wait_command(const WaitOptions& options, Context& context) {
  int code = 0;
  if (options.condition != "" && options.condition != "exited" && options.condition != "healthy" &&
      options.condition != "running")
    throw Error(ErrorCode::kUsage, fmt::format("unknown condition {}", quote(options.condition)))
        .with_hint("exited, running and healthy are known");
  std::vector<Container> all;
  for (const std::string& name : options.containers) all.push_back(Container::find(name, context.store));
  context.store.release();
  for (const Container& container : all) {
    if (options.condition == "healthy")
      code = std::max(code, wait_for_health(container, options, context));
    else if (options.condition == "running")
      code = std::max(code, container.is_running() ? 0 : 1);
    else
      code = std::max(code, wait_for_exit(container, options, context));
  }
  return code;
}

}  // namespace corten::container
