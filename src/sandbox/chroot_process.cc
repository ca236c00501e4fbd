#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "sandbox/chroot.h"

namespace corten::sandbox {

namespace {

constexpr size_t kStackBytes = 256 << 10;

struct Program {
  const Plan* plan;
  Child child;
};

[[gnu::no_sanitize_address]] int program_main(void* argument) {  // as child_main in process.cc
  Program& program = *static_cast<Program*>(argument);
  become_program(*program.plan, program.child);
}

// All processes whose parent we are. Orphans come to us, so this reaches everyone in the end.
void kill_children() {
  DIR* proc = opendir("/proc");
  if (proc == nullptr) return;
  const pid_t self = getpid();
  while (const dirent* item = readdir(proc)) {
    const pid_t pid = atoi(item->d_name);
    if (pid <= 1) continue;
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    const ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) continue;
    text[n] = 0;
    const char* after_name = strrchr(text, ')');  // a name may hold anything: "1 (a) S 7) R 1"
    int parent = 0;
    char state = 0;
    if (after_name != nullptr && sscanf(after_name + 1, " %c %d", &state, &parent) == 2 && parent == self)
      kill(pid, SIGKILL);
  }
  closedir(proc);
}

int change_root(Child&, const Operation& op) {
  return fchdir(op.fd) == 0 && chroot(".") == 0 && chdir("/") == 0 ? 0 : -errno;
}

Plan make_chroot_plan(const Spec& spec, int root) {
  if (spec.network != Network::kHost)
    throw Error(ErrorCode::kUnsupported, "RUN --network=none: network namespaces are not to be had here")
        .with_hint("see 'corten doctor'");
  for (const Mount& mount : spec.mounts)
    if (mount.read_only && mount.source.fd >= 0 && !mount.text)
      fail(ErrorCode::kUnsupported, "mount {}: nothing can be made read-only where nothing can be mounted",
           mount.target.absolute());
  Plan plan;
  plan_cgroup(spec, plan);
  plan_namespaces(spec, plan);
  Operation change{.apply = change_root, .what = "change the root directory"};
  change.fd = root;
  plan.add(std::move(change));
  plan_limits(spec, plan);
  plan_program(spec, plan);
  plan_no_new_privileges(plan);
  plan_landlock(spec, plan);
  plan_seccomp(spec, plan);
  plan_capabilities(spec, plan);
  return plan;
}

}  // namespace

ChrootRun::ChrootRun(const Spec& spec)
    : mounts_(spec),
      plan_(make_chroot_plan(spec, mounts_.root())),
      lock_fds_(spec.lock_fds),
      stack_(std::make_unique<char[]>(kStackBytes)) {
  void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail_errno("share memory with the step's keeper");
  shared_ = new (memory) Shared{};
}

ChrootRun::~ChrootRun() {
  munmap(shared_, sizeof(Shared));
}

// The caller has blocked all signals.
void ChrootRun::start(pid_t& keeper, int& pidfd) {
  Pipe ready = make_pipe();
  const pid_t parent = getpid();
  keeper = fork();
  if (keeper < 0) fail_errno("fork");
  if (keeper == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
    if (getppid() != parent) _exit(1);
    keep(ready.write.get());
  }
  pidfd = static_cast<int>(syscall(SYS_pidfd_open, keeper, 0));
  if (pidfd < 0) {
    const int error = errno;
    kill(keeper, SIGTERM);
    waitpid(keeper, nullptr, 0);
    throw errno_error(error, "watch the step's keeper");
  }
  ready.write.reset();
  char byte;
  read_fully(ready.read.get(), &byte, 1, "the step's keeper");
}

// In a process of its own, which has one thread.
void ChrootRun::keep(int ready) {
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  Program program{.plan = &plan_, .child = {}};
  program.child.report = &shared_->report;
  const pid_t pid =
      clone(program_main, stack_.get() + kStackBytes, CLONE_VM | CLONE_VFORK | SIGCHLD, &program);
  if (pid < 0) {
    shared_->report.failed_operation = 0;
    shared_->report.error = errno;
  }
  char byte = 1;
  if (write(ready, &byte, 1) != 1) _exit(1);
  // The locks are ours too, so that they are held until nobody is left; other steps' pipes must not be. They
  // move up first, so that none takes the place of a later one.
  int top = 3;
  for (const int lock : lock_fds_) top = std::max(top, lock + 1);
  int next = 3;
  for (size_t i = 0; i < lock_fds_.size(); i++) dup2(lock_fds_[i], top + static_cast<int>(i));
  for (size_t i = 0; i < lock_fds_.size(); i++)
    if (dup2(top + static_cast<int>(i), next) >= 0) next++;
  syscall(SYS_close_range, next, ~0u, 0);

  sigset_t awaited;
  sigemptyset(&awaited);
  sigaddset(&awaited, SIGCHLD);
  sigaddset(&awaited, SIGTERM);
  bool is_over = pid < 0;
  auto reap = [&](int flags) {
    int status = 0;
    const pid_t ended = waitpid(-1, &status, flags);
    if (ended == pid && ended > 0) {
      shared_->status = status;
      is_over = true;
    }
    return ended > 0;
  };
  while (!is_over) {
    while (reap(WNOHANG)) {
    }
    if (is_over) break;
    if (sigwaitinfo(&awaited, nullptr) == SIGTERM) is_over = true;
  }
  // Until none is left. Who forks faster than we kill is killed with the next round: its parent is gone.
  while (true) {
    kill_children();
    if (!reap(0) && errno == ECHILD) break;
  }
  getrusage(RUSAGE_CHILDREN, &shared_->use);
  _exit(0);
}

}  // namespace corten::sandbox
