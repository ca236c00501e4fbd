#include "build/run.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/trace.h"
#include "build/run_limits.h"
#include "build/run_mounts.h"
#include "dockerfile/values.h"
#include "sandbox/recorder.h"
#include "store/accounts.h"
#include "store/directory_body.h"
#include "store/upper.h"

namespace corten::build {

void RunningProcesses::add(sandbox::Process* process) {
  std::lock_guard lock(mutex_);
  if (killed_) process->kill();
  processes_.insert(process);
}
void RunningProcesses::remove(sandbox::Process* process) {
  std::lock_guard lock(mutex_);
  processes_.erase(process);
}
void RunningProcesses::kill_all() {
  std::lock_guard lock(mutex_);
  killed_ = true;
  for (sandbox::Process* process : processes_) process->kill();
}

namespace {

void set_variable(std::vector<std::string>& environment, std::string_view name, std::string_view value) {
  std::string entry = fmt::format("{}={}", name, value);
  for (std::string& old : environment)
    if (old.starts_with(fmt::format("{}=", name))) {
      old = entry;
      return;
    }
  environment.push_back(std::move(entry));
}

bool has_variable(const std::vector<std::string>& environment, std::string_view name) {
  return std::any_of(environment.begin(), environment.end(),
                     [&](const std::string& entry) { return entry.starts_with(fmt::format("{}=", name)); });
}

std::string hosts_file(const RunStep& step, const Request& request) {
  std::string text =
      "127.0.0.1\tlocalhost " + step.hostname + "\n::1\tlocalhost ip6-localhost ip6-loopback\n";
  for (const auto& [name, address] : request.extra_hosts) text += address + "\t" + name + "\n";
  return text;
}

std::string resolver_file() {
  try {
    return read_file("/etc/resolv.conf", 1 << 20);
  } catch (const Error&) {
    return "";  // a machine without a resolver: the step has none either
  }
}

// Mount points that were made for the step go away again, with directories that were made on the way, unless
// something is in them.
std::set<RootfsPath> remove_stubs(const std::string& upper, const std::vector<sandbox::Stub>& stubs) {
  std::set<RootfsPath> parents;
  for (auto stub = stubs.rbegin(); stub != stubs.rend(); ++stub) {
    std::string path = upper + "/" + stub->path.str();
    struct stat st;
    if (!stub->was_there && lstat(path.c_str(), &st) == 0) {
      if (S_ISDIR(st.st_mode))
        rmdir(path.c_str());
      else if (S_ISREG(st.st_mode) && st.st_size == 0)
        unlink(path.c_str());
    }
    for (RootfsPath above = stub->path.parent(); !above.is_root(); above = above.parent())
      parents.insert(above);
  }
  return parents;
}

// Hands on what comes out of a pipe until its last writer is gone. When a listener fails (a full disk), the
// pipe is still read to its end, so that the step is not held up, and the error is given back by finish().
class Forwarder {
 public:
  Forwarder(UniqueFd from, int stream, const std::function<void(int, std::string_view)>& output)
      : from_(std::move(from)), thread_([this, stream, &output] { run(stream, output); }) {}
  ~Forwarder() {
    if (thread_.joinable()) thread_.join();
  }
  void finish() {
    thread_.join();
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void run(int stream, const std::function<void(int, std::string_view)>& output) {
    char buffer[16 << 10];
    while (true) {
      ssize_t n = read(from_.get(), buffer, sizeof buffer);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return;
      try {
        if (!error_) output(stream, {buffer, static_cast<size_t>(n)});
      } catch (...) {
        error_ = std::current_exception();
      }
    }
  }
  UniqueFd from_;
  std::exception_ptr error_;
  std::thread thread_;
};

// A process that a cancelled build kills, and that does not outlive an error.
class Running {
 public:
  Running(sandbox::Process& process, RunningProcesses& all) : process_(process), all_(all) {
    all_.add(&process_);
  }
  ~Running() {
    all_.remove(&process_);
    process_.kill();
  }

 private:
  sandbox::Process& process_;
  RunningProcesses& all_;
};

// What the step moved from its place, with our mounts in it, is not lost.
struct TakeBack {
  RunMounts& mounts;
  ~TakeBack() {
    try {
      mounts.take_back();
    } catch (const Error&) {
      return;  // told already, by who could not take it away
    }
  }
};

std::string shown_command(const std::vector<std::string>& argv) {
  return join(argv, " ");
}

// apt gives up root for its downloads and looks whether it did. The file lies in the step's own /dev, so
// nothing of it is in the layer.
void tell_apt(sandbox::Spec& spec) {
  if (has_variable(spec.environment, "APT_CONFIG")) return;
  sandbox::Mount file;
  file.target = RootfsPath("dev/corten-apt.conf");
  file.text = "APT::Sandbox::User \"root\";\n";
  file.text_mode = 0444;
  file.read_only = true;
  spec.mounts.push_back(std::move(file));
  set_variable(spec.environment, "APT_CONFIG", "/dev/corten-apt.conf");
}

// What carries no record of its owner, where that is not the step's user.
std::vector<sandbox::Recorder::Special> specials_below(const store::Tree& view, const store::RunUser& user) {
  std::vector<sandbox::Recorder::Special> list;
  for (store::SpecialOwner& special : store::special_owners(view, user.uid, user.gid))
    list.push_back({.path = std::move(special.path), .owner = {.uid = special.uid, .gid = special.gid}});
  return list;
}

// What the store's file system takes for now.
int64_t start_time(const std::string& marker) {
  struct stat st;
  UniqueFd file = open_file(marker, O_WRONLY | O_CREAT | O_EXCL);
  if (fstat(file.get(), &st) != 0) fail_errno("stat {}", marker);
  return st.st_ctim.tv_sec * 1'000'000'000 + st.st_ctim.tv_nsec;
}

}  // namespace

store::Owners body_owners(const sandbox::Entered& entered) {
  return {.mapping = entered.mapping.to_string(), .recorded = entered.records_owners()};
}

store::Owners body_owners(const Executor& executor) {
  return body_owners(executor.entered);
}

store::LayerRef execute_run(const RunStep& step, const RunInputs& inputs, Executor& executor) {
  TraceSpan span("RUN: prepare and finish");
  if (executor.entered.rung == sandbox::Rung::kNothing)
    throw Error(ErrorCode::kUnsupported,
                "nothing can be executed here: " + sandbox::main_obstacle(executor.entered).what)
        .with_hint(sandbox::main_obstacle(executor.entered).climb);
  int64_t layer_time = inputs.below.newest + 1;
  bool keep_times = executor.request.timestamps == Timestamps::kSource;
  executor.store.layers().need(inputs.below.refs());
  store::RootfsView view = executor.store.layers().view(inputs.below.refs());
  TempDir place = executor.store.temporary("run");
  const store::Owners owners = body_owners(executor);
  store::RunUser user = store::Accounts::load(view, executor.store.contents()).run_user(step.user);
  RunMounts mounts(step, inputs, executor, layer_time, place.path());
  std::unique_ptr<StepRoot> root = StepRoot::make(executor.uppers(), {.store = executor.store,
                                                                      .trees = *executor.trees,
                                                                      .below = inputs.below,
                                                                      .view = view,
                                                                      .owners = owners,
                                                                      .place = place.path(),
                                                                      .restamped = mounts.restamped(),
                                                                      .layer_time = layer_time});
  store::make_working_directory(root->writable(), step.directory, view, owners);

  const TakeBack back{mounts};  // before the root goes
  sandbox::Spec spec;
  TempDir secrets;
  if (!executor.entered.has_namespaces()) {
    secrets = executor.store.temporary(std::string(store::kSecretsPrefix));
    spec.secrets_place = {secrets.path()};
  }
  root->describe(spec.root);
  spec.mounts = mounts.mounts();
  spec.argv = step.argv;
  spec.environment = step.environment;
  if (!keep_times && !step.has_source_date_epoch)
    set_variable(spec.environment, "SOURCE_DATE_EPOCH", std::to_string(layer_time));
  if (!has_variable(spec.environment, "HOME")) set_variable(spec.environment, "HOME", user.home);
  for (const auto& [name, value] : mounts.variables()) set_variable(spec.environment, name, value);
  spec.directory = step.directory;
  spec.uid = user.uid;
  spec.gid = user.gid;
  spec.groups.assign(user.groups.begin(), user.groups.end());
  spec.hostname = step.hostname;
  spec.network = step.network == "none" ? sandbox::Network::kNone : sandbox::Network::kHost;
  spec.etc_hosts = hosts_file(step, executor.request);
  spec.etc_resolv_conf = resolver_file();
  spec.shm_bytes = executor.request.shm_bytes;
  if (step.insecure) spec.security = sandbox::Security::kInsecure;
  spec.lock_fds = mounts.lock_fds();
  if (inputs.lock_fd >= 0) spec.lock_fds.push_back(inputs.lock_fd);
  spec.lock_keeper = executor.lock_keeper;
  spec.has_namespaces = executor.entered.has_namespaces();
  std::optional<sandbox::Recorder> recorder;
  if (owners.recorded) {
    recorder.emplace(
        sandbox::Recorder::Options{.uid = user.uid, .gid = user.gid, .specials = specials_below(view, user)});
    spec.one_id = true;
    tell_apt(spec);
    spec.recorder = &*recorder;
  }

  Pipe out = make_pipe(), err = make_pipe();
  spec.stdout_fd = out.write.get();
  spec.stderr_fd = err.write.get();
  ProcessorSlots::Slot slot;
  if (executor.slots) slot = executor.slots->take(inputs.name, executor.cancellation, inputs.wait);
  RunLimits limits(executor.request, executor.store.path());
  limits.add_to(spec);
  int64_t started = start_time(place / "started");
  executor.cancellation.check();
  sandbox::Process process = [&] {
    TraceSpan starting("RUN: start the sandbox");
    return sandbox::Process::start(spec);
  }();
  out.write.reset();
  err.write.reset();
  Forwarder outputs(std::move(out.read), 1, inputs.output), errors(std::move(err.read), 2, inputs.output);
  sandbox::Exit exit = [&] {
    TraceSpan running_span("RUN: the command itself");
    Running running(process, executor.running);
    return limits.wait(process);
  }();
  if (inputs.used) inputs.used(exit.use);
  outputs.finish();
  errors.finish();
  executor.cancellation.check();
  if (!exit.exec_error.empty()) {
    inputs.output(2, "unable to start container process: " + exit.exec_error + "\n");
    throw Error(ErrorCode::kFailed, fmt::format("process {} did not complete successfully: exit code: 1: {}",
                                                quote(shown_command(step.argv)), exit.exec_error));
  }
  if (!exit.is_success()) {
    Error failure = limits.failure(shown_command(step.argv), exit);
    if (std::string why = root->why_it_may_have_failed(); !why.empty()) failure.set_hint(why);
    throw failure;
  }

  TraceSpan capturing("RUN: read what it wrote");
  store::CaptureOptions options;
  options.started_ns = started;
  options.foreign_times_ns = mounts.foreign_times_ns();
  options.layer_time = layer_time;
  options.keep_times = keep_times;
  options.stub_parents = remove_stubs(root->writable(), process.stubs());
  for (const sandbox::Stub& stub : process.stubs())
    if (stub.was_there) options.put_back.insert(stub.path);
  options.below = &view;
  options.owners = owners;
  options.maker = {.uid = user.uid, .gid = user.gid};
  if (recorder)
    options.owner_of_special = [&](const RootfsPath& path) { return recorder->owner_of_special(path); };
  options.threads = executor.request.threads;
  return root->keep(root->capture(options));
}

}  // namespace corten::build
