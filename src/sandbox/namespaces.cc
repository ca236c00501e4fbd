// Which namespaces are new, and what belongs to the small ones: the session, the host name, the network.
#include <linux/sched.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/error.h"
#include "sandbox/plan.h"

namespace corten::sandbox {

namespace {

int new_session(Child&, const Operation&) {
  setsid();  // fails only for a leader, which process 1 of a new pid namespace is not yet
  return 0;
}

int set_host_name(Child&, const Operation& op) {
  // Docker's own filter refuses this to a builder that runs in a container: the name of the outer one is then
  // kept.
  if (sethostname(op.text.c_str(), op.text.size()) == 0 || errno == EPERM) return 0;
  return -errno;
}

int join_network(Child&, const Operation& op) {
  return setns(op.fd, CLONE_NEWNET) == 0 ? 0 : -errno;
}

constexpr size_t kMaxHostName = 64;

}  // namespace

void plan_namespaces(const Spec& spec, Plan& plan) {
  plan.add({.apply = new_session, .what = "make a session"});
  if (spec.join_pidfd >= 0 || !spec.has_namespaces) return;
  plan.clone_flags |= CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP;
  if (spec.network == Network::kNone) plan.clone_flags |= CLONE_NEWNET;
  if (spec.network == Network::kJoin) {
    Operation op{.apply = join_network, .what = "join the network namespace"};
    op.fd = spec.network_fd;
    plan.add(std::move(op));
  }
  if (spec.hostname.size() > kMaxHostName)
    fail(ErrorCode::kInvalid, "host name {}: longer than {} bytes", spec.hostname, kMaxHostName);
  plan.add({.apply = set_host_name, .what = "set the host name", .text = spec.hostname});
}

}  // namespace corten::sandbox
