// From Docker's seccomp profile (JSON) to a filter that the kernel takes. Used when Corten is built, for the
// default capabilities, and at run time for others (some 15 ms).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace corten::sandbox {

// The bytes of a struct sock_filter array for this processor and its older forms (x86_64: also i386 and x32).
// Rules that ask for capabilities are taken as `capabilities` (bits) have them. Throws Error(kInvalid) for a
// profile that is not understood.
std::vector<uint8_t> compile_seccomp_profile(std::string_view json, uint64_t capabilities);

// Whether a rule of the profile depends on a capability in which the two sets differ.
bool is_same_filter(std::string_view json, uint64_t one, uint64_t other);

// Filters of one answer each beside "allow", for this processor and its older forms.
struct CallRule {
  std::string name;
  bool asks = false;  // wait for the supervisor's answer; else succeed without effect
};
std::vector<uint8_t> compile_call_rules(const std::vector<CallRule>& rules);

// A call's number on our architecture and each of its older forms that has it.
struct CallOnArchitecture {
  uint32_t architecture;  // AUDIT_ARCH_*
  uint32_t number;
  bool is_older = false;
};
std::vector<CallOnArchitecture> numbers_of_call(const std::string& name);

}  // namespace corten::sandbox
