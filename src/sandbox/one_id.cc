// A step where only one id exists: who it is, and the filter that asks the recorder.
//
// Root is what it is, and may "change" its user as it likes. Any other user gets a user namespace of its own,
// in which our one id has the number that is wanted; nothing but ids differs in it, mounts are made by then.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "sandbox/kernel.h"
#include "sandbox/plan.h"
#include "sandbox/recorder.h"
#include "sandbox/recorder_filter.h"

namespace corten::sandbox {

namespace {

struct CallNumber {
  uint32_t architecture, number;
  RecordedCall call;
};

#include "sandbox/recorder_filters.inc"

constexpr unsigned kNewListener = 1u << 3;   // SECCOMP_FILTER_FLAG_NEW_LISTENER (5.0)
constexpr unsigned kWaitKillable = 1u << 5;  // ..._WAIT_KILLABLE_RECV (5.19): a signal does not ask anew

int write_file_of_self(Child& child, const char* name, const std::string& text) {
  int fd = open_beneath_root(child.proc, name, O_WRONLY);
  if (fd < 0) return -errno;
  const ssize_t n = write(fd, text.data(), text.size());
  const int result = n == static_cast<ssize_t>(text.size()) ? 0 : -errno;
  close(fd);
  return result;
}

int renumber(Child& child, const Operation& op) {
  if (unshare(CLONE_NEWUSER) != 0) return -errno;
  prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);  // else the files are the machine's root's
  if (int result = write_file_of_self(child, "self/uid_map", op.text); result != 0) return result;
  return write_file_of_self(child, "self/gid_map", op.text2);
}

int load(const std::vector<uint8_t>& bytes, unsigned flags) {
  sock_fprog program{};
  program.len = static_cast<unsigned short>(bytes.size() / sizeof(sock_filter));
  program.filter = reinterpret_cast<sock_filter*>(const_cast<uint8_t*>(bytes.data()));
  const long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
  return result >= 0 ? static_cast<int>(result) : -errno;
}

int load_with_listener(const std::vector<uint8_t>& bytes, bool killable) {
  int listener = killable ? load(bytes, kNewListener | kWaitKillable) : -EINVAL;
  return listener == -EINVAL ? load(bytes, kNewListener) : listener;
}

int load_pretence(Child&, const Operation& op) {
  return load(op.bytes, 0);
}

int load_recorder(Child&, const Operation& op) {
  const int listener = load_with_listener(op.bytes, op.yes);
  if (listener < 0) return listener;
  char byte = 0;
  iovec data{.iov_base = &byte, .iov_len = 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &listener, sizeof listener);
  const int result = sendmsg(op.fd, &message, MSG_NOSIGNAL) == 1 ? 0 : -errno;
  close(listener);
  return result;
}

template <size_t size>
std::vector<uint8_t> bytes_of(const uint8_t (&filter)[size]) {
  return {filter, filter + size};
}

}  // namespace

std::optional<RecordedCall> find_recorded_call(uint32_t architecture, uint32_t number) {
  for (const CallNumber& known : kRecordedCalls)
    if (known.number == number && known.architecture == architecture) return known.call;
  return std::nullopt;
}

void plan_one_id(const Spec& spec, Plan& plan) {
  if (!spec.one_id) return;
  if (spec.uid != 0 || spec.gid != 0) {
    Operation op{.apply = renumber, .what = fmt::format("become {}:{}", spec.uid, spec.gid)};
    op.text = fmt::format("{} 0 1", spec.uid);
    op.text2 = fmt::format("{} 0 1", spec.gid);
    plan.add(std::move(op));
  }
  if (spec.recorder == nullptr) {
    if (spec.uid != 0) return;
    Operation op{.apply = load_pretence, .what = "pretend changes of owners and users"};
    op.bytes = bytes_of(kPretenceFilter);
    plan.add(std::move(op));
    return;
  }
  Operation op{.apply = load_recorder, .what = "ask for owners to be recorded"};
  op.bytes = spec.uid == 0 ? bytes_of(kRecorderFilterOfRoot) : bytes_of(kRecorderFilterOfUsers);
  op.yes = !is_forbidden(Feature::kWaitKillable);
  op.fd = spec.recorder->child_socket();
  plan.add(std::move(op));
}

bool can_record() {
  if (is_forbidden(Feature::kSeccompNotify)) return false;
  const std::vector<uint8_t> filter = bytes_of(kRecorderFilterOfRoot);
  const pid_t pid = fork();
  if (pid < 0) return false;
  if (pid == 0) {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);  // without a namespace of our own nobody loads filters otherwise
    _exit(load_with_listener(filter, true) >= 0 ? 0 : 1);
  }
  int status = 1;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace corten::sandbox
