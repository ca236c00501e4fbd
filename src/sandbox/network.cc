#include "sandbox/network.h"

#include <fcntl.h>
#include <linux/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "base/error.h"
#include "sandbox/plan.h"

namespace corten::sandbox {

namespace {

int bring_lo_up() {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  ifreq request{};
  strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  int result = ioctl(fd, SIOCSIFFLAGS, &request) == 0 ? 0 : -errno;
  close(fd);
  return result;
}

int bring_up(Child&, const Operation&) {
  return bring_lo_up();
}

}  // namespace

void plan_network(const Spec& spec, Plan& plan) {
  if (spec.network == Network::kNone)
    plan.add({.apply = bring_up, .what = "bring the loopback interface up"});
}

UniqueFd make_network_namespace() {
  // A thread of its own has a namespace of its own; its descriptor keeps the namespace when the thread is
  // gone.
  UniqueFd fd;
  int error = 0;
  std::thread maker([&] {
    if (unshare(CLONE_NEWNET) != 0) {
      error = errno;
      return;
    }
    if (int result = bring_lo_up(); result != 0) {
      error = -result;
      return;
    }
    fd = UniqueFd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!fd) error = errno;
  });
  maker.join();
  if (error != 0) throw errno_error(error, "make a network namespace");
  return fd;
}

}  // namespace corten::sandbox
