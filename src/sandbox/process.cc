// From a plan to a process.
//
// clone(2) with CLONE_VM | CLONE_VFORK on a stack of its own: the child shares our memory until it executes
// the program, and this thread sleeps until then. (The old clone, since Docker's filter answers clone3 with
// ENOSYS.) All signals are blocked meanwhile, so that no handler of ours runs in the child. A program in
// existing namespaces (`exec`) takes one process more: setns(2) puts only *children* into a pid namespace, so
// a helper goes there and makes the program our child (CLONE_PARENT).
#include "sandbox/process.h"

#include <sanitizer/asan_interface.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <memory>

#include "base/error.h"
#include "base/strings.h"
#include "sandbox/chroot.h"
#include "sandbox/plan.h"
#include "sandbox/recorder.h"

#ifdef __SANITIZE_THREAD__
extern "C" int __clone(int (*)(void*), void*, int, void*, ...);  // NOLINT: glibc's name
#endif

namespace corten::sandbox {

namespace {

// ThreadSanitizer takes every clone() for a fork(), and stops watching the thread that the child runs on.
// With CLONE_VM that is its parent's record of the thread, and all that the parent does from then on looks
// like a race. So in its builds glibc's other name is called, past the sanitizer.
using CloneCall = int(int (*)(void*), void*, int, void*, ...);
#ifdef __SANITIZE_THREAD__
constexpr CloneCall* kCloneInSameMemory = __clone;
#else
constexpr CloneCall* kCloneInSameMemory = ::clone;
#endif

constexpr size_t kStackBytes = 256 << 10;
constexpr int kSetupFailed = 125;

struct Start {
  const Plan* plan;
  Report* report;
  Child child;
  int join_pidfd;
  char* second_stack;
  pid_t pid;  // of the program
  int pidfd;
};

class Stack {
 public:
  Stack()
      : base_(mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1,
                   0)) {
    if (base_ == MAP_FAILED) fail_errno("make a stack");
  }
  ~Stack() {
    // The child left its frames by exec or _exit: the sanitizer would take their red zones for those of the
    // next mapping.
    ASAN_UNPOISON_MEMORY_REGION(base_, kStackBytes);
    munmap(base_, kStackBytes);
  }
  Stack(const Stack&) = delete;
  char* top() const { return static_cast<char*>(base_) + kStackBytes; }

 private:
  void* base_;
};

// Signals blocked and, after the child changed its ids (which marks the shared memory as not dumpable), our
// own mark restored.
class CloneGuard {
 public:
  CloneGuard() : dumpable_(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old_);
  }
  ~CloneGuard() {
    if (dumpable_ == 1) prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    pthread_sigmask(SIG_SETMASK, &old_, nullptr);
  }

 private:
  int dumpable_;
  sigset_t old_;
};

// From here on nothing may be allocated. The kernel is asked itself: glibc keeps 32 and 33 to itself, and
// what a parent ignores would reach the step.
void reset_signals() {
  constexpr size_t kMaskBytes = 8;
  const unsigned long plain[4] =
      {};  // the kernel's struct sigaction: SIG_DFL, no flags, no restorer, no mask
  for (int number = 1; number < _NSIG; number++)
    syscall(SYS_rt_sigaction, number, plain, nullptr, kMaskBytes);  // SIGKILL and SIGSTOP: refused, fine
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

// The end of a child that shares our memory, past ThreadSanitizer's _exit(), which would take stock of our
// threads.
[[noreturn]] void leave(int code) {
  while (true) syscall(SYS_exit_group, code);
}

// What runs on the child's stack and does not come back is not watched: AddressSanitizer would look for the
// stack of our thread there.
[[gnu::no_sanitize_address]] int child_main(void* argument) {
  Start& start = *static_cast<Start*>(argument);
  become_program(*start.plan, start.child);
}

[[gnu::no_sanitize_address]] int enter_and_start(void* argument) {
  Start& start = *static_cast<Start*>(argument);
  constexpr int kAll = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP;
  // A box on the machine's network is in a namespace that an ordinary user may not enter, and in which we are
  // already.
  if (setns(start.join_pidfd, kAll | CLONE_NEWNET) != 0 &&
      (errno != EPERM || setns(start.join_pidfd, kAll) != 0)) {
    start.report->error = errno;
    leave(kSetupFailed);
  }
  start.pid = kCloneInSameMemory(child_main, start.second_stack,
                                 CLONE_VM | CLONE_VFORK | CLONE_PARENT | CLONE_PIDFD | SIGCHLD, argument,
                                 &start.pidfd);
  if (start.pid < 0) start.report->error = errno;
  leave(0);
}

std::string exec_text(const Plan& plan, const Report& report) {
  const std::string name = quote(plan.argv[0]);
  const std::string file =
      report.exec_candidate < plan.candidates.size() ? plan.candidates[report.exec_candidate] : plan.argv[0];
  switch (report.exec) {
    case ExecFailure::kNotInPath:
      return fmt::format("exec: {}: executable file not found in $PATH", name);
    case ExecFailure::kStat:
      return fmt::format("exec: {}: stat {}: {}", name, file, to_lower(errno_text(report.error)));
    case ExecFailure::kIsDirectory:
      return fmt::format("exec: {}: is a directory", name);
    case ExecFailure::kNotExecutable:
      return fmt::format("exec: {}: {}", name, to_lower(errno_text(report.error)));
    case ExecFailure::kExecve:
      return fmt::format("exec {}: {}", file, to_lower(errno_text(report.error)));
    case ExecFailure::kNone:
      break;
  }
  return {};
}

int exec_code(const Report& report) {
  const bool missing = report.exec == ExecFailure::kNotInPath || report.error == ENOENT;
  return missing ? 127 : 126;
}

[[noreturn]] void fail_setup(const Plan& plan, const Report& report) {
  const Operation& operation = plan.operations[static_cast<size_t>(report.failed_operation)];
  Error error = errno_error(report.error, operation.what);
  if (report.error == EROFS) error.set_hint("the mount point is not there, and its file system is read-only");
  throw error;
}

void clone_in_new_namespaces(Start& start, const Stack& stack) {
  const uint64_t flags = start.plan->clone_flags | CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD;
  start.pid = kCloneInSameMemory(child_main, stack.top(), static_cast<int>(flags), &start, &start.pidfd);
  if (start.pid < 0) {
    Error error = errno_error(errno, "make the namespaces of the process");
    if (errno == EPERM) error.set_hint("see 'corten doctor'");
    throw error;
  }
}

void clone_in_joined_namespaces(Start& start, const Stack& stack, const Stack& second) {
  start.second_stack = second.top();
  const pid_t helper = kCloneInSameMemory(enter_and_start, stack.top(),
                                          CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, &start);
  if (helper < 0) fail_errno("make a helper process");
  int status;
  while (waitpid(helper, &status, 0) < 0 && errno == EINTR) {
  }
  if (start.pid < 0) throw errno_error(start.report->error, "enter the namespaces of the container");
}

}  // namespace

[[gnu::no_sanitize_address]] void become_program(const Plan& plan, Child& child) {
  Report& report = *child.report;
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  umask(0);
  const std::vector<Operation>& operations = plan.operations;
  for (size_t i = 0; i < operations.size(); i++) {
    const int result = operations[i].apply(child, operations[i]);
    if (result == 0) continue;
    report.failed_operation = static_cast<int>(i);
    report.error = -result;
    leave(kSetupFailed);
  }
  umask(022);
  reset_signals();
  execute_program(plan, report);
  leave(kSetupFailed);
}

std::vector<Stub> stubs_of(const Report& report) {
  std::vector<Stub> stubs;
  const char* at = report.stubs;
  const char* end = report.stubs + report.stubs_size;
  while (at < end) {
    const std::string path(at + 1);
    stubs.push_back({.path = RootfsPath(path), .is_directory = *at == 'd'});
    at += 1 + path.size() + 1;
  }
  return stubs;
}

// Where there are no namespaces.
Process Process::start_in_chroot(const Spec& spec) {
  Process process;
  process.chroot_ = std::make_unique<ChrootRun>(spec);
  {
    const CloneGuard guard;
    int pidfd = -1;
    process.chroot_->start(process.pid_, pidfd);
    process.pidfd_ = UniqueFd(pidfd);
  }
  process.note_start(process.chroot_->plan(), process.chroot_->report());
  process.chroot_->forget_plan();
  return process;
}

void Process::note_start(const Plan& plan, const Report& report) {
  if (report.failed_operation >= 0) fail_setup(plan, report);
  if (report.exec == ExecFailure::kNone) return;
  exec_error_ = exec_text(plan, report);
  exec_code_ = exec_code(report);
}

Process Process::start(const Spec& spec) {
  if (!spec.has_namespaces) return start_in_chroot(spec);
  UniqueFd released;
  const Plan plan = make_plan(spec, released);
  if (spec.recorder != nullptr) spec.recorder->begin(plan.root);
  auto report = std::make_unique<Report>();
  const Stack stack, second_stack;
  Start start{.plan = &plan,
              .report = report.get(),
              .child = {},
              .join_pidfd = spec.join_pidfd,
              .second_stack = nullptr,
              .pid = -1,
              .pidfd = -1};
  start.child.report = report.get();
  start.child.files = plan.files;
  {
    const CloneGuard guard;
    if (spec.join_pidfd < 0)
      clone_in_new_namespaces(start, stack);
    else
      clone_in_joined_namespaces(start, stack, second_stack);
  }
  if (spec.recorder != nullptr) spec.recorder->child_has_started();
  Process process;
  process.pid_ = start.pid;
  process.pidfd_ = UniqueFd(start.pidfd);
  process.stubs_ = stubs_of(*report);
  process.note_start(plan, *report);
  // Not before: a process that did not start is not waited for as long as the plan holds the other end.
  process.released_ = std::move(released);
  return process;
}

Process::Process() = default;
Process::Process(Process&&) noexcept = default;

Process& Process::operator=(Process&& other) noexcept {
  std::swap(pidfd_, other.pidfd_);
  std::swap(released_, other.released_);
  std::swap(pid_, other.pid_);
  std::swap(is_over_, other.is_over_);
  std::swap(exec_error_, other.exec_error_);
  std::swap(exec_code_, other.exec_code_);
  std::swap(stubs_, other.stubs_);
  std::swap(chroot_, other.chroot_);
  return *this;
}

Process::~Process() {
  if (!pidfd_.is_open() || is_over_) return;
  kill();
  siginfo_t info;
  while (waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd_.get()), &info, WEXITED) < 0 &&
         errno == EINTR) {
  }
  wait_for_locks();
}

void Process::wait_for_locks() noexcept {
  char byte;
  while (released_ && read(released_.get(), &byte, 1) < 0 && errno == EINTR) {
  }
  released_.reset();
}

void Process::kill() noexcept {
  // The keeper of a chroot must live on to kill the rest.
  if (pidfd_.is_open()) syscall(SYS_pidfd_send_signal, pidfd_.get(), chroot_ ? SIGTERM : SIGKILL, nullptr, 0);
}

void Process::signal(int number) {
  if (!pidfd_.is_open()) return;
  if (syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0) != 0 && errno != ESRCH)
    fail_errno("send signal {} to process {}", number, pid_);
}

Exit Process::wait() {
  if (!pidfd_.is_open() || is_over_) fail(ErrorCode::kInternal, "process {}: waited for twice", pid_);
  siginfo_t info{};
  rusage use{};
  // The system call gives the resource use as well; the C library's wrapper does not.
  while (syscall(SYS_waitid, P_PIDFD, pidfd_.get(), &info, WEXITED, &use) != 0)
    if (errno != EINTR) fail_errno("wait for process {}", pid_);
  is_over_ = true;
  wait_for_locks();
  if (chroot_) {
    use = chroot_->use();
    const int status = chroot_->status();
    info.si_code = WIFEXITED(status) ? CLD_EXITED : CLD_KILLED;
    info.si_status = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
    stubs_ = chroot_->mounts().take_away();
  }
  Exit exit;
  exit.exec_error = std::move(exec_error_);
  if (!exit.exec_error.empty())
    exit.code = exec_code_;
  else if (info.si_code == CLD_EXITED)
    exit.code = info.si_status;
  else {
    exit.signal = info.si_status;
    exit.code = 128 + info.si_status;
  }
  auto nanoseconds = [](const timeval& t) { return t.tv_sec * 1'000'000'000LL + t.tv_usec * 1000LL; };
  exit.use.user_ns = nanoseconds(use.ru_utime);
  exit.use.system_ns = nanoseconds(use.ru_stime);
  exit.use.max_resident_bytes = static_cast<uint64_t>(use.ru_maxrss) * 1024;
  return exit;
}

}  // namespace corten::sandbox
