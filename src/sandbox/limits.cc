// Resource limits.
//
// A core file would hold the step's secrets. The core limit is 1, not 0: a machine whose core_pattern is a
// pipe (systemd, apport) ignores 0, but refuses to dump at 1 (fs/coredump.c), and a file of one byte is never
// begun.
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include <fmt/core.h>

#include "sandbox/plan.h"

namespace corten::sandbox {

namespace {

int set_limit(Child&, const Operation& op) {
  const rlimit limit{.rlim_cur = op.flags, .rlim_max = op.number};
  return setrlimit(static_cast<__rlimit_resource>(op.fd), &limit) == 0 ? 0 : -errno;
}

void add_limit(const ResourceLimit& limit, Plan& plan) {
  Operation op{.apply = set_limit,
               .what = fmt::format("set resource limit {} to {}:{}", limit.resource, limit.soft, limit.hard)};
  op.fd = limit.resource;
  op.flags = limit.soft;
  op.number = limit.hard;
  plan.add(std::move(op));
}

}  // namespace

void plan_limits(const Spec& spec, Plan& plan) {
  bool core = false;
  for (const ResourceLimit& limit : spec.limits) {
    core = core || limit.resource == RLIMIT_CORE;
    add_limit(limit, plan);
  }
  rlimit now;
  if (!core && getrlimit(RLIMIT_CORE, &now) == 0) {
    const rlim_t value = now.rlim_max == RLIM_INFINITY || now.rlim_max >= 1 ? 1 : 0;
    add_limit({.resource = RLIMIT_CORE, .soft = value, .hard = value}, plan);
  }
}

}  // namespace corten::sandbox
