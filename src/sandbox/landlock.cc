// Abstract unix sockets have no file, so no mount hides the machine's from a step that shares its network.
// Landlock's scope does, from ABI 6 (Linux 6.12). Nothing else is restricted: mounts, files and signals are
// the namespaces' business.
#include "sandbox/landlock.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "sandbox/kernel.h"
#include "sandbox/plan.h"

namespace corten::sandbox {

namespace {

struct RulesetAttributes {  // struct landlock_ruleset_attr of ABI 6
  uint64_t handled_access_fs, handled_access_net, scoped;
};
constexpr uint64_t kScopeAbstractUnixSocket = 1;
constexpr uint32_t kCreateRulesetVersion = 1;

int restrict(Child&, const Operation& op) {
  return syscall(SYS_landlock_restrict_self, op.fd, 0) == 0 ? 0 : -errno;
}

}  // namespace

int landlock_abi() {
  long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, kCreateRulesetVersion);
  return abi < 0 ? 0 : static_cast<int>(abi);
}

UniqueFd make_socket_scope() {
  if (is_forbidden(Feature::kLandlockScope)) return {};
  const RulesetAttributes attributes{
      .handled_access_fs = 0, .handled_access_net = 0, .scoped = kScopeAbstractUnixSocket};
  return UniqueFd(static_cast<int>(syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0)));
}

void plan_landlock(const Spec& spec, Plan& plan) {
  if (spec.network != Network::kHost || spec.security == Security::kInsecure) return;
  UniqueFd ruleset = make_socket_scope();
  if (!ruleset) return;  // an older kernel; doctor says so
  Operation op{.apply = restrict, .what = "close off abstract sockets"};
  op.fd = plan.keep(std::move(ruleset));
  plan.add(std::move(op));
}

}  // namespace corten::sandbox
