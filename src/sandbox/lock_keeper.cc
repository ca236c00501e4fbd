#include "sandbox/lock_keeper.h"

#include <linux/close_range.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <iterator>

#include "base/error.h"
#include "sandbox/plan.h"

namespace corten::sandbox {

namespace {

// The pidfd, the end of a pipe that tells that all is free again, the locks.
constexpr size_t kMostSent = LockKeeper::kMostLocks + 2;
constexpr size_t kMostSteps = 256;  // more wait in the socket, and keep their locks there

struct Kept {
  int fds[kMostSent];
  size_t count;
};

// What came, if that is anything; false when nobody is left who could send.
bool receive(int socket, Kept& kept) {
  kept.count = 0;
  char byte;
  iovec data{.iov_base = &byte, .iov_len = 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof kept.fds)];
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) <= 0) return false;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) return true;  // we have too many files open
  kept.count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  memcpy(kept.fds, CMSG_DATA(header), kept.count * sizeof(int));
  return true;
}

// Locks first: who reads the pipe's end finds them free.
void let_go(const Kept& kept) {
  for (size_t i = 2; i < kept.count; i++) close(kept.fds[i]);
  for (size_t i = 0; i < 2 && i < kept.count; i++) close(kept.fds[i]);
}

// In a process of its own; all signals are blocked, and what is in the socket came from us.
[[noreturn]] void keep_locks(int socket) {
  setsid();  // a signal to our group is not for it
  prctl(PR_SET_NAME, "corten-locks", 0, 0, 0);
  if (chdir("/") != 0) _exit(1);
  constexpr int kSocket = 0;
  if (dup2(socket, kSocket) < 0) _exit(1);
  syscall(SYS_close_range, kSocket + 1, ~0u, 0);
  static Kept steps[kMostSteps];
  static pollfd waiting[kMostSteps + 1];
  size_t count = 0;
  bool is_open = true;
  while (is_open || count > 0) {
    for (size_t i = 0; i < count; i++) waiting[i] = {.fd = steps[i].fds[0], .events = POLLIN, .revents = 0};
    const bool has_room = count < kMostSteps;
    waiting[count] = {.fd = is_open && has_room ? kSocket : -1, .events = POLLIN, .revents = 0};
    if (poll(waiting, count + 1, -1) < 0 && errno != EINTR) _exit(1);
    const bool has_news = waiting[count].revents != 0;
    for (size_t i = count; i-- > 0;) {
      if (waiting[i].revents == 0) continue;
      let_go(steps[i]);
      steps[i] = steps[--count];
    }
    if (!has_news) continue;
    if (!receive(kSocket, steps[count])) is_open = false;
    if (steps[count].count > 0) count++;
  }
  _exit(0);
}

// In the child: its own pidfd, and what the plan has prepared.
int hand_over(Child&, const Operation& op) {
  int fds[kMostSent];
  const size_t count = op.bytes.size() / sizeof(int);
  memcpy(fds, op.bytes.data(), op.bytes.size());
  fds[0] = static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0));
  if (fds[0] < 0) return -errno;
  char byte = 0;
  iovec data{.iov_base = &byte, .iov_len = 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fds)] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = CMSG_SPACE(count * sizeof(int));
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(count * sizeof(int));
  memcpy(CMSG_DATA(header), fds, count * sizeof(int));
  return sendmsg(op.fd, &message, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

}  // namespace

LockKeeper::LockKeeper() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) fail_errno("make a pair of sockets");
  socket_ = UniqueFd(ends[0]);
  const UniqueFd theirs(ends[1]);
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  pid_ = fork();
  const int error = errno;
  if (pid_ == 0) keep_locks(theirs.get());
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  if (pid_ < 0) throw errno_error(error, "make the process that holds locks");
}

LockKeeper::~LockKeeper() {
  socket_.reset();
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

UniqueFd plan_locks(const Spec& spec, Plan& plan) {
  if (spec.lock_fds.empty()) return {};
  if (spec.lock_keeper == nullptr) fail(ErrorCode::kInternal, "a step has locks and nobody who keeps them");
  if (spec.lock_fds.size() > LockKeeper::kMostLocks)
    fail(ErrorCode::kUnsupported, "a step can hold {} locks, and not {}", LockKeeper::kMostLocks,
         spec.lock_fds.size());
  Pipe released = make_pipe();
  Operation op{.apply = hand_over, .what = "hand over the locks of the step"};
  op.fd = spec.lock_keeper->socket();
  const auto add = [&](int fd) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(&fd);
    op.bytes.insert(op.bytes.end(), bytes, bytes + sizeof fd);
  };
  add(-1);  // its pidfd
  add(plan.keep(std::move(released.write)));
  for (const int fd : spec.lock_fds) add(fd);
  plan.add(std::move(op));
  return std::move(released.read);
}

}  // namespace corten::sandbox
