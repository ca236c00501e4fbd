// The one process that stays with a container: it holds the log, forwards the ports, asks the health check,
// and writes down how it ended. One thread; when it is killed the container dies with it.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "container/box.h"
#include "container/container.h"
#include "container/port.h"

namespace corten::container {

struct MonitorStart {
  const Container& container;
  Box box;
  std::vector<Listener> listeners;
  FileLock lock;
  const Clock& clock;
};

// What is told once the container runs, or that it does not.
struct Started {
  std::vector<std::string> warnings;
  std::string exec_error;  // the program could not be executed: runc's words
  int exec_code = 0;       // then 126 or 127
};

// Starts the container and stays until it has ended; gives how. A foreground container has our standard
// streams and gets our signals; a detached one writes to its log. `started` is called once. Its files are
// removed in the end when that was asked for, or when it never ran. This process moves into the container's
// network namespace and blocks its signals. Error when it cannot be started.
ExitRecord run_monitor(MonitorStart start, const std::function<void(const Started&)>& started);

// The same in a process of its own that outlives us; comes back when the container runs, or throws the
// reason.
Started run_detached_monitor(MonitorStart start);

}  // namespace corten::container
