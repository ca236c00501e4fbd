// A container on disk, and what is true of it now.
//
//   containers/ID/container.json   what it is to be (ContainerSpec); without it the directory is rubbish
//                 lock             held by its monitor as long as that lives: the only sign of life that is
//                 believed state.json       which processes it is, since when, and its ports health.json the
//                 last probes exit             how it ended; empty until then. Written in place, so that who
//                 waits can read it although
//                                  the directory of a --rm container goes away
//                 log              what it wrote: a JSON object a line, as Docker's json-file
//                 upper/ work/     its changes            volumes/N   its anonymous volumes
//
// Every file is written whole, so a kill at any instant leaves a state that can be told: a container that
// says it runs and whose lock is free lost its monitor (and died with it): *unknown*, never *healthy*.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "container/health.h"
#include "container/spec.h"
#include "store/store.h"

namespace corten::container {

enum class Status { kCreated, kRunning, kExited, kUnknown };
std::string_view status_name(Status status);  // Docker's State.Status, and "unknown"

// A process by number and start time, so that a number that was given again is not taken for it.
struct ProcessId {
  pid_t pid = 0;
  uint64_t start_ticks = 0;  // /proc/PID/stat, field 22

  static ProcessId of(pid_t pid);
  // Its pidfd; not open when it is gone.
  UniqueFd open() const;
};

struct State {
  std::string boot;
  ProcessId monitor, init;
  int64_t started_ns = 0;
  std::vector<Port> ports;  // as bound
  std::string network;      // "host", "none", "bridge": as it was chosen
  std::string outward;      // how its own network reaches out: "pasta", "slirp4netns", "" not at all
};

struct ExitRecord {
  int code = 0;
  int64_t finished_ns = 0;
  std::string error;  // why it is no exit of the program's own; "" when it is
};

// A handle on one container's directory. A value; not thread-safe. Reads are of the moment.
class Container {
 public:
  // Gives it an id and a name and writes it down. Error(kExists) with Docker's words when the name is taken.
  static Container create(ContainerSpec spec, store::Store& store);
  // Newest first. Directories of a creation that was killed are passed over.
  static std::vector<Container> list(store::Store& store);
  // By name, id or a unique prefix of the id. Error(kNotFound) `No such container: x`.
  static Container find(std::string_view name_or_id, store::Store& store);

  const ContainerSpec& spec() const { return spec_; }
  const HostPath& directory() const { return directory_; }
  HostPath log_path() const { return directory_ / "log"; }

  Status status() const;
  bool is_running() const { return status() == Status::kRunning; }
  std::optional<State> state() const;
  // Also for a container that a restart of the machine ended: 255.
  std::optional<ExitRecord> exit() const;
  // kNone when there is no check, and of a container that does not run.
  Health health() const;

  // For its monitor.
  FileLock take_lock() const;
  void write_state(const State& state) const;
  void write_health(const Health& health) const;
  void write_exit(const ExitRecord& record) const;

  // Blocks until its monitor is gone. Opened before, so that it works for --rm; gives what the exit record
  // says.
  class Waiter {
   public:
    explicit Waiter(const Container& container);
    // False when time is up. timeout_ms -1: for ever.
    bool wait(int timeout_ms = -1);
    std::optional<ExitRecord> record() const;

   private:
    UniqueFd lock_, exit_;
  };

  // All of its files. Inside the user namespace (upper holds foreign ids), when nothing of it runs any more.
  void remove_files() const;

 private:
  Container(ContainerSpec spec, HostPath directory)
      : spec_(std::move(spec)), directory_(std::move(directory)) {}
  bool monitor_lives() const;

  ContainerSpec spec_;
  HostPath directory_;
};

// The images of all containers, for prune and rmi.
std::vector<Digest> images_in_use(store::Store& store);
// The layers that they stand on, for who collects.
std::vector<Digest> layers_in_use(store::Store& store);

}  // namespace corten::container
