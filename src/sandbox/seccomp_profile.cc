// The profile: moby, profiles/seccomp. The compiling is libseccomp's (a binary tree: 0.1 ms to load, a linear
// one 0.75).
//
// libseccomp 2.5.4 does not know calls newer than Linux 5.17. Where the profile allows such a call, a few
// instructions in front of the tree do (numbers from 424 on are the same on every architecture). A number
// that is newer than all that we know gets ENOSYS, not EPERM, as runc does: C libraries fall back to older
// calls on ENOSYS only.
#include "sandbox/seccomp_profile.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <set>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/unique_fd.h"

namespace corten::sandbox {

namespace {

struct NewCall {
  const char* name;
  uint32_t number;
};
// include/uapi/asm-generic/unistd.h of Linux 6.18.
constexpr NewCall kNewCalls[] = {{"set_mempolicy_home_node", 450},
                                 {"cachestat", 451},
                                 {"fchmodat2", 452},
                                 {"map_shadow_stack", 453},
                                 {"futex_wake", 454},
                                 {"futex_wait", 455},
                                 {"futex_requeue", 456},
                                 {"statmount", 457},
                                 {"listmount", 458},
                                 {"lsm_get_self_attr", 459},
                                 {"lsm_set_self_attr", 460},
                                 {"lsm_list_modules", 461},
                                 {"mseal", 462},
                                 {"setxattrat", 463},
                                 {"getxattrat", 464},
                                 {"listxattrat", 465},
                                 {"removexattrat", 466},
                                 {"open_tree_attr", 467},
                                 {"file_getattr", 468},
                                 {"file_setattr", 469}};
constexpr uint32_t kLastKnownCall = 469;
constexpr uint32_t kX32Bit = 0x40000000;

#if defined(__x86_64__)
const std::set<std::string> kArchitectures = {"amd64", "x86", "x32"};
constexpr uint32_t kOlderForms[] = {SCMP_ARCH_X86, SCMP_ARCH_X32};
#elif defined(__aarch64__)
const std::set<std::string> kArchitectures = {"arm64", "arm"};
constexpr uint32_t kOlderForms[] = {SCMP_ARCH_ARM};
#else
#error "the seccomp profile is not known for this architecture"
#endif

bool has_capability(uint64_t bits, const std::string& name) {
  cap_value_t value;
  return cap_from_name(to_lower(name).c_str(), &value) == 0 && (bits >> value & 1) != 0;
}

bool any_architecture(const std::vector<std::string>& names) {
  return std::any_of(names.begin(), names.end(),
                     [](const std::string& name) { return kArchitectures.contains(name); });
}

// Docker's rule: all included capabilities must be there, none of the excluded ones; one of the architectures
// must be ours.
bool applies(const Json& rule, uint64_t capabilities) {
  if (const Json* includes = rule.find("includes")) {
    for (const std::string& name : includes->get_strings("caps"))
      if (!has_capability(capabilities, name)) return false;
    std::vector<std::string> arches = includes->get_strings("arches");
    if (!arches.empty() && !any_architecture(arches)) return false;
    // minKernel: the profile asks for 4.8 at most, we for 5.15
  }
  if (const Json* excludes = rule.find("excludes")) {
    for (const std::string& name : excludes->get_strings("caps"))
      if (has_capability(capabilities, name)) return false;
    if (any_architecture(excludes->get_strings("arches"))) return false;
  }
  return true;
}

uint32_t action_of(const Json& rule, const char* key, const char* errno_key) {
  const std::string name = rule.get_string(key);
  if (name == "SCMP_ACT_ALLOW") return SCMP_ACT_ALLOW;
  if (name == "SCMP_ACT_ERRNO") return SCMP_ACT_ERRNO(static_cast<uint32_t>(rule.get_int(errno_key, EPERM)));
  fail(ErrorCode::kInvalid, "seccomp profile: unknown action {}", quote(name));
}

scmp_compare comparison_of(const std::string& name) {
  if (name == "SCMP_CMP_EQ") return SCMP_CMP_EQ;
  if (name == "SCMP_CMP_NE") return SCMP_CMP_NE;
  if (name == "SCMP_CMP_LT") return SCMP_CMP_LT;
  if (name == "SCMP_CMP_LE") return SCMP_CMP_LE;
  if (name == "SCMP_CMP_GE") return SCMP_CMP_GE;
  if (name == "SCMP_CMP_GT") return SCMP_CMP_GT;
  if (name == "SCMP_CMP_MASKED_EQ") return SCMP_CMP_MASKED_EQ;
  fail(ErrorCode::kInvalid, "seccomp profile: unknown comparison {}", quote(name));
}

std::vector<scmp_arg_cmp> comparisons_of(const Json& rule) {
  std::vector<scmp_arg_cmp> list;
  const Json* args = rule.find("args");
  if (args == nullptr) return list;
  for (const Json& arg : args->as_array()) {
    const auto value = static_cast<uint64_t>(arg.get_int("value"));
    const auto value_two = static_cast<uint64_t>(arg.get_int("valueTwo"));
    list.push_back({.arg = static_cast<unsigned>(arg.get_int("index")),
                    .op = comparison_of(arg.get_string("op")),
                    .datum_a = value,
                    .datum_b = value_two});
  }
  return list;
}

class Filter {
 public:
  explicit Filter(uint32_t default_action)
      : context_(seccomp_init(default_action)), default_action_(default_action) {
    if (context_ == nullptr) fail(ErrorCode::kInternal, "seccomp: no filter context");
    for (uint32_t architecture : kOlderForms)
      check(seccomp_arch_add(context_, architecture), "add an architecture");
    check(seccomp_attr_set(context_, SCMP_FLTATR_CTL_OPTIMIZE, 2), "ask for a tree");
  }
  ~Filter() { seccomp_release(context_); }
  Filter(const Filter&) = delete;

  void add(const Json& rule) {
    const uint32_t action = action_of(rule, "action", "errnoRet");
    if (action == default_action_) return;
    const std::vector<scmp_arg_cmp> comparisons = comparisons_of(rule);
    for (const std::string& name : rule.get_strings("names")) {
      const int number = seccomp_syscall_resolve_name(name.c_str());
      if (number == __NR_SCMP_ERROR) {
        if (action == SCMP_ACT_ALLOW && comparisons.empty()) allow_new_call(name);
        continue;  // a call of another architecture
      }
      check(seccomp_rule_add_array(context_, action, number, static_cast<unsigned>(comparisons.size()),
                                   comparisons.data()),
            name);
    }
  }

  void add(const std::string& name, uint32_t action) {
    const int number = seccomp_syscall_resolve_name(name.c_str());
    if (number != __NR_SCMP_ERROR) check(seccomp_rule_add(context_, action, number, 0), name);
  }

  std::vector<uint8_t> tree() const {
    const std::string text = exported();
    return {text.begin(), text.end()};
  }

  std::vector<uint8_t> bytes() const {
    const std::string tree = exported();
    const std::vector<sock_filter> front = front_part();
    std::vector<uint8_t> all(front.size() * sizeof(sock_filter) + tree.size());
    memcpy(all.data(), front.data(), front.size() * sizeof(sock_filter));
    memcpy(all.data() + front.size() * sizeof(sock_filter), tree.data(), tree.size());
    if (all.size() / sizeof(sock_filter) > BPF_MAXINSNS)
      fail(ErrorCode::kInternal, "seccomp: the filter is too long");
    return all;
  }

 private:
  std::string exported() const {
    UniqueFd file(memfd_create("filter", MFD_CLOEXEC));
    if (!file) fail_errno("seccomp: make a file in memory");
    check(seccomp_export_bpf(context_, file.get()), "export the filter");
    if (lseek(file.get(), 0, SEEK_SET) != 0) fail_errno("seccomp: seek");
    return read_all(file.get(), "seccomp filter");
  }

  static void check(int result, std::string_view what) {
    if (result != 0) throw errno_error(-result, fmt::format("seccomp: {}", what));
  }

  void allow_new_call(const std::string& name) {
    for (const NewCall& call : kNewCalls)
      if (name == call.name) new_calls_.insert(call.number);
  }

  std::vector<sock_filter> front_part() const {
    std::vector<sock_filter> code;
    code.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
    // x32 numbers have their own bit and are left to the tree: over all that follows.
    const auto skip = static_cast<uint8_t>(2 * new_calls_.size() + 2);
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kX32Bit, skip, 0));
    for (uint32_t number : new_calls_) {
      code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
      code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    }
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, kLastKnownCall, 0, 1));
    code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS));
    return code;
  }

  scmp_filter_ctx context_;
  uint32_t default_action_;
  std::set<uint32_t> new_calls_;
};

}  // namespace

std::vector<uint8_t> compile_seccomp_profile(std::string_view json, uint64_t capabilities) {
  const Json profile = Json::parse(json);
  Filter filter(action_of(profile, "defaultAction", "defaultErrnoRet"));
  const Json* rules = profile.find("syscalls");
  if (rules == nullptr) fail(ErrorCode::kInvalid, "seccomp profile: no rules");
  for (const Json& rule : rules->as_array())
    if (applies(rule, capabilities)) filter.add(rule);
  return filter.bytes();
}

std::vector<CallOnArchitecture> numbers_of_call(const std::string& name) {
  std::vector<CallOnArchitecture> list;
  auto look = [&](uint32_t architecture, bool is_older) {
    const int number = seccomp_syscall_resolve_name_arch(architecture, name.c_str());
    if (number < 0) return;  // not there, or a part of another call (socketcall)
    // The kernel tells x32 from its 64-bit form by a bit of the number alone.
    const uint32_t reported = architecture == SCMP_ARCH_X32 ? SCMP_ARCH_X86_64 : architecture;
    list.push_back({.architecture = reported, .number = static_cast<uint32_t>(number), .is_older = is_older});
  };
  look(seccomp_arch_native(), false);
  for (uint32_t architecture : kOlderForms) look(architecture, true);
  return list;
}

std::vector<uint8_t> compile_call_rules(const std::vector<CallRule>& rules) {
  seccomp_api_set(6);  // what the machine that builds has is of no interest
  Filter filter(SCMP_ACT_ALLOW);
  for (const CallRule& rule : rules) filter.add(rule.name, rule.asks ? SCMP_ACT_NOTIFY : SCMP_ACT_ERRNO(0));
  return filter.tree();
}

bool is_same_filter(std::string_view json, uint64_t one, uint64_t other) {
  const Json profile = Json::parse(json);
  const Json* rules = profile.find("syscalls");
  if (rules == nullptr) return true;
  return std::all_of(rules->as_array().begin(), rules->as_array().end(),
                     [&](const Json& rule) { return applies(rule, one) == applies(rule, other); });
}

}  // namespace corten::sandbox
