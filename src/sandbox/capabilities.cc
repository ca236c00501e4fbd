// Who the program is: ids, capabilities, and what it can never gain again.
//
// The calls go to the kernel directly: the C library's would tell all threads of *our* process to change
// their ids too. As with Docker: root has the set as permitted and effective, others only as their bound;
// inheritable and ambient are empty.
#include <linux/capability.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/error.h"
#include "base/strings.h"
#include "sandbox/capability_set.h"
#include "sandbox/plan.h"

namespace corten::sandbox {

namespace {

constexpr int kMaxCapability = 63;

int drop_bound(Child&, const Operation& op) {
  for (int capability = 0; capability <= kMaxCapability; capability++) {
    if ((op.flags >> capability & 1) != 0) continue;
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0)
      return errno == EINVAL ? 0 : -errno;  // past the kernel's last
  }
  return 0;
}

int become(Child&, const Operation& op) {
  const auto uid = static_cast<uid_t>(op.number);
  const auto gid = static_cast<gid_t>(op.flags);
  if (syscall(SYS_setgroups, op.bytes.size() / sizeof(gid_t), op.bytes.data()) != 0) return -errno;
  if (syscall(SYS_setresgid, gid, gid, gid) != 0) return -errno;
  if (syscall(SYS_setresuid, uid, uid, uid) != 0) return -errno;
  return 0;
}

int set_capabilities(Child&, const Operation& op) {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  const auto low = static_cast<uint32_t>(op.flags), high = static_cast<uint32_t>(op.flags >> 32);
  const __user_cap_data_struct data[2] = {{.effective = low, .permitted = low, .inheritable = 0},
                                          {.effective = high, .permitted = high, .inheritable = 0}};
  if (syscall(SYS_capset, &header, data) != 0) return -errno;
  return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0 ? 0 : -errno;
}

int forbid_new_privileges(Child&, const Operation&) {
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? 0 : -errno;
}

int set_death_signal(Child&, const Operation& op) {
  return prctl(PR_SET_PDEATHSIG, op.number, 0, 0, 0) == 0 ? 0 : -errno;
}

uint64_t own_capabilities() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) != 0) fail_errno("read our capabilities");
  return data[0].permitted | static_cast<uint64_t>(data[1].permitted) << 32;
}

}  // namespace

uint64_t capability_bits(const Spec& spec) {
  uint64_t bits = spec.security == Security::kInsecure ? ~uint64_t{0} : kDefaultCapabilityBits;
  if (spec.capabilities) {
    bits = 0;
    for (int capability : *spec.capabilities)
      if (capability >= 0 && capability <= kMaxCapability) bits |= uint64_t{1} << capability;
  }
  return bits & own_capabilities();
}

static void plan_ids(const Spec& spec, Plan& plan) {
  Operation ids{.apply = become, .what = fmt::format("become {}:{}", spec.uid, spec.gid)};
  ids.number = spec.uid;
  ids.flags = spec.gid;
  ids.bytes.resize(spec.groups.size() * sizeof(gid_t));
  if (!spec.groups.empty()) memcpy(ids.bytes.data(), spec.groups.data(), ids.bytes.size());
  plan.add(std::move(ids));
}

void plan_capabilities(const Spec& spec, Plan& plan) {
  const uint64_t mknod =
      plan.makes_nodes && spec.security != Security::kInsecure ? uint64_t{1} << CAP_MKNOD : 0;
  const uint64_t bits = capability_bits(spec) & ~mknod;
  Operation bound{.apply = drop_bound, .what = "drop capabilities"};
  bound.flags = bits;
  const bool may_drop = (own_capabilities() >> CAP_SETPCAP & 1) != 0;
  if (spec.has_namespaces || may_drop) plan.add(std::move(bound));

  if (!spec.one_id) plan_ids(spec, plan);

  Operation set{.apply = set_capabilities, .what = "set capabilities"};
  set.flags = spec.uid == 0 ? bits : 0;
  plan.add(std::move(set));
  if (spec.no_new_privileges) plan.add({.apply = forbid_new_privileges, .what = "forbid new privileges"});
  // Last: it was set for the time of setting up, and a change of ids switched it off.
  Operation death{.apply = set_death_signal, .what = "die with the parent"};
  death.number = spec.dies_with_parent ? SIGKILL : 0;
  plan.add(std::move(death));
}

void plan_no_new_privileges(Plan& plan) {
  plan.add({.apply = forbid_new_privileges, .what = "forbid new privileges"});
}

std::vector<int> default_capabilities() {
  std::vector<int> list;
  for (int capability = 0; capability <= kMaxCapability; capability++)
    if ((kDefaultCapabilityBits >> capability & 1) != 0) list.push_back(capability);
  return list;
}

std::optional<int> parse_capability(std::string_view name) {
  std::string lower = to_lower(name);
  if (!lower.starts_with("cap_")) lower = "cap_" + lower;
  cap_value_t value;
  if (cap_from_name(lower.c_str(), &value) != 0) return std::nullopt;
  return value;
}

}  // namespace corten::sandbox
