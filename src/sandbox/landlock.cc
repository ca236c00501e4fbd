// Abstract unix sockets have no file, so no mount hides the machine's from a step that shares its network.
// Landlock's scope does, from ABI 6 (Linux 6.12). Nothing else is restricted: mounts, files and signals are
// the namespaces' business.
#include "sandbox/landlock.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "sandbox/kernel.h"
#include "sandbox/plan.h"

namespace corten::sandbox {

namespace {

struct RulesetAttributes {  // struct landlock_ruleset_attr of ABI 6
  uint64_t handled_access_fs, handled_access_net, scoped;
};
constexpr uint64_t kScopeAbstractUnixSocket = 1, kScopeSignal = 2;
constexpr int kRulePathBeneath = 1;
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

// All that can be handled, allowed beneath one directory only: what is elsewhere cannot be reached, even by
// who finds a way out of a chroot. Before ABI 2 a restricted process cannot move files between directories at
// all.
UniqueFd make_tree_ruleset(int root) {
  const int abi = landlock_abi();
  if (abi < 2 || is_forbidden(Feature::kLandlockTree)) return {};
  constexpr int kFirstBits[] = {0, 13, 14,
                                15};  // of ABI 1, 2 (moves) and 3 (truncate); ioctls are left alone
  RulesetAttributes attributes{.handled_access_fs = (uint64_t{1} << kFirstBits[abi < 3 ? abi : 3]) - 1,
                               .handled_access_net = 0,
                               .scoped = 0};
  const bool has_scope = abi >= 6 && !is_forbidden(Feature::kLandlockScope);
  if (has_scope) attributes.scoped = kScopeAbstractUnixSocket | kScopeSignal;
  UniqueFd ruleset(static_cast<int>(syscall(SYS_landlock_create_ruleset, &attributes,
                                            has_scope ? sizeof attributes : sizeof(uint64_t), 0)));
  if (!ruleset) return {};
  struct [[gnu::packed]] PathBeneath {
    uint64_t allowed_access;
    int32_t parent_fd;
  } beneath{.allowed_access = attributes.handled_access_fs, .parent_fd = root};
  if (syscall(SYS_landlock_add_rule, ruleset.get(), kRulePathBeneath, &beneath, 0) != 0)
    fail_errno("landlock: allow the root");
  return ruleset;
}

void plan_landlock(const Spec& spec, Plan& plan) {
  if (!spec.has_namespaces) {
    UniqueFd root = open_file(spec.root.plain.path.value, O_PATH | O_DIRECTORY);
    UniqueFd tree = make_tree_ruleset(root.get());
    if (!tree) return;
    Operation op{.apply = restrict, .what = "close off what is outside of the root"};
    op.fd = plan.keep(std::move(tree));
    plan.add(std::move(op));
    return;
  }
  if (spec.network != Network::kHost || spec.security == Security::kInsecure) return;
  UniqueFd ruleset = make_socket_scope();
  if (!ruleset) return;  // an older kernel; doctor says so
  Operation op{.apply = restrict, .what = "close off abstract sockets"};
  op.fd = plan.keep(std::move(ruleset));
  plan.add(std::move(op));
}

}  // namespace corten::sandbox
