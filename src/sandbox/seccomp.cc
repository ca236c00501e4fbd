// The system call filter. It is loaded while we still have CAP_SYS_ADMIN in our user namespace, so that
// NO_NEW_PRIVS, which would break setuid programs in a step, is not needed; all that follows in the plan is
// allowed by the profile.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "sandbox/capability_set.h"
#include "sandbox/plan.h"
#include "sandbox/seccomp_profile.h"

namespace corten::sandbox {

namespace {

#include "sandbox/seccomp_default.inc"

int load_filter(Child&, const Operation& op) {
  sock_fprog program{};
  program.len = static_cast<unsigned short>(op.bytes.size() / sizeof(sock_filter));
  program.filter = reinterpret_cast<sock_filter*>(const_cast<uint8_t*>(op.bytes.data()));
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0 ? 0 : -errno;
}

}  // namespace

void plan_seccomp(const Spec& spec, Plan& plan) {
  if (!spec.seccomp || spec.security == Security::kInsecure) return;
  Operation op{.apply = load_filter, .what = "load the system call filter"};
  // What a user may not have at all counts as not given: the bound decides, as with Docker.
  const uint64_t bits = capability_bits(spec);
  if (bits == kDefaultCapabilityBits || is_same_filter(kProfile, bits, kDefaultCapabilityBits))
    op.bytes.assign(std::begin(kDefaultFilter), std::end(kDefaultFilter));
  else
    op.bytes = compile_seccomp_profile(kProfile, bits);
  plan.add(std::move(op));
}

}  // namespace corten::sandbox
