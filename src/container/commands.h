// The commands on containers, without flags and terminals: each gives the exit code and throws Error.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "container/container.h"
#include "sandbox/privilege.h"
#include "store/store.h"

namespace corten::container {

// What a command works with. Borrowed.
struct Context {
  store::Store& store;
  const Clock& clock;
  std::function<void(std::string_view)> out, err;
  // Climbs where a command needs it (sandbox::enter), or gives what was climbed already. Called at most once.
  std::function<sandbox::Entered()> enter;
};

// Starts a container of an image that is in the store. Foreground: its exit code, or 126 and 127 when its
// program cannot be run, whose reason is told. Detached: prints the id, 0. Error otherwise: the command line
// gives 125.
int run_command(const RunOptions& options, Context& context);

struct ExecOptions {
  std::string container;
  std::vector<std::string> command, environment;
  std::string user, directory;
  bool interactive = false, terminal = false;
};
int exec_command(const ExecOptions& options, Context& context);

struct LogsOptions {
  std::string container;
  bool follow = false, timestamps = false;
  std::string tail, since, until;  // "all" or a number; RFC 3339, seconds, or a duration ago
};
int logs_command(const LogsOptions& options, Context& context);

struct PsOptions {
  bool all = false, quiet = false, no_trunc = false;
  std::string format;                // "", "table", "json"
  std::vector<std::string> filters;  // name=, id=, status=, health=, label=, ancestor=
};
int ps_command(const PsOptions& options, Context& context);

struct StopOptions {
  std::vector<std::string> containers;
  std::optional<int64_t> timeout_s;
  std::string signal;
};
int stop_command(const StopOptions& options, Context& context);

struct KillOptions {
  std::vector<std::string> containers;
  std::string signal = "KILL";
};
int kill_command(const KillOptions& options, Context& context);

struct RemoveOptions {
  std::vector<std::string> containers;
  bool force = false;
};
int rm_command(const RemoveOptions& options, Context& context);

struct WaitOptions {
  std::vector<std::string> containers;
  std::string condition;  // "" or "exited": prints exit codes; "healthy", "running"
  std::optional<int64_t> timeout_s;
};
// `healthy` gives 1 and tells the last probe's output when the container turns unhealthy or ends.
int wait_command(const WaitOptions& options, Context& context);

// PORT as "80" or "80/tcp"; "" for all.
int port_command(const std::string& container, const std::string& port, Context& context);

// One element of `docker inspect`'s array.
Json inspect_container(const Container& container, store::Store& store);

// What a failing health check needs to be mended: the last probe, its command, the end of the log, what to
// try.
std::string explain_health(const Container& container);

}  // namespace corten::container
