#include "sandbox/plan.h"

namespace corten::sandbox {

Plan make_plan(const Spec& spec, UniqueFd& released) {
  Plan plan;
  plan_cgroup(spec, plan);
  plan_namespaces(spec, plan);
  if (spec.join_pidfd < 0) {
    plan_root(spec, plan);
    plan_proc(spec, plan);
    plan_sys(spec, plan);
    plan_devices(spec, plan);
    plan_masks(spec, plan);
    plan_mounts(spec, plan);
    plan_pivot(spec, plan);
    plan_network(spec, plan);
  }
  released = plan_locks(spec, plan);  // opens a descriptor: before the limits of the step
  plan_limits(spec, plan);
  plan_program(spec, plan);
  plan_one_id(spec, plan);
  plan_landlock(spec, plan);
  plan_seccomp(spec, plan);
  plan_capabilities(spec, plan);
  return plan;
}

}  // namespace corten::sandbox
