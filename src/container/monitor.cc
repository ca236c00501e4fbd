#include "container/monitor.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include <fmt/core.h>

#include "base/error.h"
#include "container/event_loop.h"
#include "container/forwarder.h"
#include "container/log.h"
#include "container/network.h"
#include "container/prober.h"
#include "sandbox/network.h"
#include "sandbox/process.h"

namespace corten::container {

namespace {

constexpr int kForwarded[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCONT, SIGWINCH};
constexpr int kImpatience = 3;  // so many Ctrl-C end a container that does not listen (docker run)

class Monitor {
 public:
  Monitor(MonitorStart start) : start_(std::move(start)), spec_(start_.container.spec()) {}

  Started begin();
  ExitRecord stay();

 private:
  void choose_network(Started& told);
  void take_signals();
  void on_signal(int number);
  void open_log();
  void drain_log();
  void write_state();

  MonitorStart start_;
  const ContainerSpec& spec_;
  EventLoop loop_;
  UniqueFd signals_, network_;
  Outward outward_;
  std::string network_name_;
  std::optional<sandbox::Recorder> recorder_;  // outlives the process
  std::optional<sandbox::Process> process_;
  std::optional<Forwarder> forwarder_;
  std::optional<LogWriter> log_;
  Pipe output_[2];
  std::optional<Prober> prober_;
  int interrupts_ = 0;
  bool is_over_ = false;
};

void Monitor::choose_network(Started& told) {
  network_name_ = spec_.network;
  bool has_ports = !start_.listeners.empty();
  if (network_name_.empty()) network_name_ = has_ports || Outward::is_likely() ? "bridge" : "host";
  sandbox::Spec& box = start_.box.spec;
  if (network_name_ == "bridge") {
    network_ = sandbox::make_network_namespace();
    outward_ = Outward::open(network_.get());
    if (outward_.program().empty()) {
      if (!has_ports && spec_.network.empty()) {
        network_.reset();
        network_name_ = "host";
      } else {
        told.warnings.push_back(
            "the container's network has no way out: install pasta (package passt) or slirp4netns, or use "
            "--network host");
      }
    }
  }
  box.network = network_name_ == "host"   ? sandbox::Network::kHost
                : network_name_ == "none" ? sandbox::Network::kNone
                                          : sandbox::Network::kJoin;
  box.network_fd = network_.get();
  box.etc_resolv_conf = network_name_ == "bridge" ? outward_.resolver() : machine_resolver();
  if (network_) enter_network(network_.get());
}

void Monitor::take_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (int number : kForwarded) sigaddset(&set, number);
  sigaddset(&set, SIGPIPE);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  sigdelset(&set, SIGPIPE);
  signals_ = UniqueFd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) fail_errno("take signals");
  loop_.watch(signals_.get(), EPOLLIN, [this](uint32_t) {
    signalfd_siginfo info;
    while (read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info))
      on_signal(static_cast<int>(info.ssi_signo));
  });
}

void Monitor::on_signal(int number) {
  bool is_end = number == SIGINT || number == SIGTERM;
  if (!spec_.detached) {
    if (is_end && !spec_.terminal && ++interrupts_ >= kImpatience)
      process_->kill();
    else
      process_->signal(number);
    return;
  }
  if (!is_end || interrupts_++ > 0) return;
  // The machine goes down: the container gets what `stop` would give it.
  process_->signal(spec_.stop_signal);
  loop_.after(spec_.stop_timeout_s * 1'000'000'000, [this] { process_->kill(); });
}

void Monitor::open_log() {
  log_.emplace(start_.container.log_path(), start_.clock);
  for (int stream : {1, 2}) {
    Pipe& pipe = output_[stream - 1];
    pipe = make_pipe();
    if (fcntl(pipe.read.get(), F_SETFL, O_NONBLOCK) != 0) fail_errno("make a pipe for the log");
    loop_.watch(pipe.read.get(), EPOLLIN, [this, stream](uint32_t) {
      UniqueFd& from = output_[stream - 1].read;
      char buffer[16 << 10];
      ssize_t n = read(from.get(), buffer, sizeof buffer);
      if (n > 0) {
        log_->write(stream, {buffer, static_cast<size_t>(n)});
      } else if (n == 0) {
        loop_.forget(from.get());
        from.reset();
      }
    });
  }
  start_.box.spec.stdin_fd = -1;
  start_.box.spec.stdout_fd = output_[0].write.get();
  start_.box.spec.stderr_fd = output_[1].write.get();
}

void Monitor::drain_log() {
  if (!log_) return;
  char buffer[16 << 10];
  for (int stream : {1, 2})
    for (ssize_t n;
         output_[stream - 1].read && (n = read(output_[stream - 1].read.get(), buffer, sizeof buffer)) > 0;)
      log_->write(stream, {buffer, static_cast<size_t>(n)});
  log_->finish();
}

void Monitor::write_state() {
  State state;
  state.boot = store::boot_id();
  state.monitor = ProcessId::of(getpid());
  try {
    state.init = ProcessId::of(process_->pid());
  } catch (const Error&) {
    state.init = {process_->pid(), 0};  // it ended already; nothing will be found under this number
  }
  state.started_ns = start_.clock.now_ns();
  state.network = network_name_;
  state.outward = outward_.program();
  for (const Listener& listener : start_.listeners) state.ports.push_back(listener.port);
  start_.container.write_state(state);
}

Started Monitor::begin() {
  Started told;
  choose_network(told);
  take_signals();
  if (spec_.detached)
    open_log();
  else
    start_.box.spec.stdin_fd = spec_.interactive ? 0 : -1;
  if (start_.box.recorder) {
    recorder_.emplace(std::move(*start_.box.recorder));
    start_.box.spec.recorder = &*recorder_;
  }
  process_.emplace(sandbox::Process::start(start_.box.spec));
  for (Pipe& pipe : output_) pipe.write.reset();
  start_.box.layers.clear();
  if (!process_->exec_error().empty()) {
    told.exec_error = process_->exec_error();
    told.exec_code = process_->wait().code;
    process_.reset();
    return told;
  }
  write_state();
  loop_.watch(process_->pidfd(), EPOLLIN, [this](uint32_t) { is_over_ = true; });
  forwarder_.emplace(std::move(start_.listeners), loop_);
  if (HealthMachine::has_probe(spec_.health))
    prober_.emplace(start_.container, *process_, start_.clock, loop_);
  return told;
}

ExitRecord Monitor::stay() {
  while (!is_over_) loop_.run_once();
  loop_.forget(process_->pidfd());
  sandbox::Exit exit = process_->wait();
  prober_.reset();
  forwarder_.reset();
  drain_log();
  return {exit.code, start_.clock.now_ns(), ""};
}

// The rest of a command's descriptors (the store's index and lock) is no business of a process that goes on
// for days.
void keep_only(std::vector<int> wanted) {
  std::sort(wanted.begin(), wanted.end());
  unsigned next = 3;
  for (int fd : wanted) {
    if (fd < static_cast<int>(next)) continue;
    if (fd > static_cast<int>(next)) syscall(SYS_close_range, next, static_cast<unsigned>(fd) - 1, 0);
    next = static_cast<unsigned>(fd) + 1;
  }
  syscall(SYS_close_range, next, ~0u, 0);
}

void leave_the_terminal() {
  if (chdir("/") != 0) fail_errno("change to /");
  UniqueFd null = open_file("/dev/null", O_RDWR);
  for (int fd : {0, 1, 2})
    if (dup2(null.get(), fd) < 0) fail_errno("close the standard streams");
}

Json to_json(const Started& told) {
  return Json::object(
      {{"Warnings", told.warnings}, {"ExecError", told.exec_error}, {"ExecCode", told.exec_code}});
}

Json to_json(const std::exception& failure) {
  Json json = Json::object({{"Error", to_valid_utf8(failure.what())}});
  if (auto* error = dynamic_cast<const Error*>(&failure)) {
    json.set("Code", static_cast<int>(error->code()));
    json.set("Hint", error->hint());
  }
  return json;
}

[[noreturn]] void be_the_monitor(MonitorStart start, UniqueFd tell) {
  try {
    std::vector<int> wanted = {tell.get(), start.lock.fd()};
    for (const Listener& listener : start.listeners) wanted.push_back(listener.fd.get());
    for (const UniqueFd& layer : start.box.layers) wanted.push_back(layer.get());
    keep_only(std::move(wanted));
    leave_the_terminal();
    run_monitor(std::move(start), [&](const Started& told) {
      write_fully(tell.get(), to_json(told).dump(), "the waiting command");
      tell.reset();
    });
    _exit(0);
  } catch (const std::exception& failure) {
    std::string text = to_json(failure).dump();
    if (tell && write(tell.get(), text.data(), text.size()) < 0) _exit(2);
    _exit(1);
  }
}

}  // namespace

ExitRecord run_monitor(MonitorStart start, const std::function<void(const Started&)>& started) {
  Container container = start.container;
  const Clock& clock = start.clock;
  FileLock lock = std::move(start.lock);
  ExitRecord record;
  try {
    Monitor monitor(std::move(start));
    Started told = monitor.begin();
    if (!told.exec_error.empty()) {
      container.remove_files();
      started(told);
      return {told.exec_code, clock.now_ns(), told.exec_error};
    }
    started(told);
    record = monitor.stay();
  } catch (const Error& error) {
    // The container is dead by now: its process was killed on the way here.
    if (!container.state()) {
      container.remove_files();
      throw;
    }
    record = {255, clock.now_ns(), fmt::format("the monitor failed: {}", to_valid_utf8(error.what()))};
  }
  container.write_exit(record);
  if (container.spec().remove) container.remove_files();
  return record;
}

Started run_detached_monitor(MonitorStart start) {
  Pipe pipe = make_pipe();
  pid_t child = fork();
  if (child < 0) fail_errno("fork");
  if (child == 0) {
    setsid();
    pid_t monitor = fork();
    if (monitor != 0) _exit(monitor < 0 ? 1 : 0);
    be_the_monitor(std::move(start), std::move(pipe.write));
  }
  pipe.write.reset();
  start.lock.release();  // ours; the monitor has it still
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  std::string answer = read_all(pipe.read.get(), "the container's monitor", 1 << 20);
  if (answer.empty())
    fail(ErrorCode::kFailed, "container {}: its monitor ended before the container ran",
         start.container.spec().name);
  Json json = Json::parse(answer);
  if (json.find("Error")) {
    Error error(static_cast<ErrorCode>(json.get_int("Code", static_cast<int>(ErrorCode::kInternal))),
                json.get_string("Error"));
    error.set_hint(json.get_string("Hint"));
    throw error;
  }
  return {json.get_strings("Warnings"), json.get_string("ExecError"),
          static_cast<int>(json.get_int("ExecCode"))};
}

}  // namespace corten::container
