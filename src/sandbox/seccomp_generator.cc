// Run when Corten is built: PROFILE.json DEFAULT.inc RECORDER.inc. Writes the default filter and the
// profile's text as C++, and the filters of recorder_filter.h with the numbers of their calls.
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>

#include <fmt/core.h>

#include "base/unique_fd.h"
#include "sandbox/capability_set.h"
#include "sandbox/recorder_filter.h"
#include "sandbox/seccomp_profile.h"

namespace {

using corten::sandbox::CallOnArchitecture;
using corten::sandbox::CallRule;
using corten::sandbox::RecordedCall;

std::string array(std::string_view name, const std::vector<uint8_t>& bytes) {
  std::string out = fmt::format("alignas(8) constexpr uint8_t {}[] = {{", name);
  int column = 0;
  for (uint8_t byte : bytes) out += fmt::format("{}{},", column++ % 32 == 0 ? "\n" : "", byte);
  return out + "\n};\n";
}

struct Recorded {
  const char* name;
  RecordedCall call;
  RecordedCall on_older;  // i386 and arm: ids of 16 bits under the plain names
  bool everywhere;        // else only where the struct of the answer is that of our own processor
};
constexpr Recorded kRecorded[] = {
    {"chown", RecordedCall::kChown, RecordedCall::kChown16, true},
    {"lchown", RecordedCall::kLchown, RecordedCall::kLchown16, true},
    {"fchown", RecordedCall::kFchown, RecordedCall::kFchown16, true},
    {"chown32", RecordedCall::kChown, RecordedCall::kChown, true},
    {"lchown32", RecordedCall::kLchown, RecordedCall::kLchown, true},
    {"fchown32", RecordedCall::kFchown, RecordedCall::kFchown, true},
    {"fchownat", RecordedCall::kFchownat, RecordedCall::kFchownat, true},
    {"mknod", RecordedCall::kMknod, RecordedCall::kMknod, true},
    {"mknodat", RecordedCall::kMknodat, RecordedCall::kMknodat, true},
    {"stat", RecordedCall::kStat, RecordedCall::kStat, false},
    {"lstat", RecordedCall::kLstat, RecordedCall::kLstat, false},
    {"fstat", RecordedCall::kFstat, RecordedCall::kFstat, false},
    {"newfstatat", RecordedCall::kFstatat, RecordedCall::kFstatat, false},
    {"statx", RecordedCall::kStatx, RecordedCall::kStatx, true},
    {"setxattr", RecordedCall::kSetAttribute, RecordedCall::kSetAttribute, true},
    {"lsetxattr", RecordedCall::kSetAttribute, RecordedCall::kSetAttribute, true},
    {"fsetxattr", RecordedCall::kSetAttribute, RecordedCall::kSetAttribute, true},
    {"getxattr", RecordedCall::kGetAttribute, RecordedCall::kGetAttribute, true},
    {"lgetxattr", RecordedCall::kGetAttribute, RecordedCall::kGetAttribute, true},
    {"fgetxattr", RecordedCall::kGetAttribute, RecordedCall::kGetAttribute, true},
    {"removexattr", RecordedCall::kRemoveAttribute, RecordedCall::kRemoveAttribute, true},
    {"lremovexattr", RecordedCall::kRemoveAttribute, RecordedCall::kRemoveAttribute, true},
    {"fremovexattr", RecordedCall::kRemoveAttribute, RecordedCall::kRemoveAttribute, true},
    {"listxattr", RecordedCall::kListAttributes, RecordedCall::kListAttributes, true},
    {"llistxattr", RecordedCall::kListLinkAttributes, RecordedCall::kListLinkAttributes, true},
    {"flistxattr", RecordedCall::kListDescriptorAttributes, RecordedCall::kListDescriptorAttributes, true},
    {"setxattrat", RecordedCall::kNewerAttributeCall, RecordedCall::kNewerAttributeCall, true},
    {"getxattrat", RecordedCall::kNewerAttributeCall, RecordedCall::kNewerAttributeCall, true},
    {"listxattrat", RecordedCall::kNewerAttributeCall, RecordedCall::kNewerAttributeCall, true},
    {"removexattrat", RecordedCall::kNewerAttributeCall, RecordedCall::kNewerAttributeCall, true},
};
constexpr const char* kChangesOfUser[] = {
    "setuid",     "setgid",      "setreuid",    "setregid",   "setresuid",  "setresgid",
    "setfsuid",   "setfsgid",    "setgroups",   "setuid32",   "setgid32",   "setreuid32",
    "setregid32", "setresuid32", "setresgid32", "setfsuid32", "setfsgid32", "setgroups32"};
constexpr uint32_t kX32Bit = 0x40000000;

std::string recorder_filters() {
  std::vector<CallRule> users, root, pretence;
  std::string numbers = "constexpr CallNumber kRecordedCalls[] = {\n";
  for (const Recorded& recorded : kRecorded) {
    users.push_back({.name = recorded.name, .asks = true});
    const std::string name = recorded.name;
    if (name.find("chown") != name.npos) pretence.push_back({.name = name, .asks = false});
    for (const CallOnArchitecture& call : corten::sandbox::numbers_of_call(name)) {
      const bool is_x32 = call.is_older && (call.number & kX32Bit) != 0;
      if (call.is_older && !recorded.everywhere) continue;  // it is asked about, and left to the kernel
      numbers += fmt::format("{{{}u, {}u, static_cast<RecordedCall>({})}},\n", call.architecture, call.number,
                             static_cast<int>(call.is_older && !is_x32 ? recorded.on_older : recorded.call));
    }
  }
  root = users;
  for (const char* name : kChangesOfUser) {
    root.push_back({.name = name, .asks = false});
    pretence.push_back({.name = name, .asks = false});
  }
  return numbers + "};\n" + array("kRecorderFilterOfRoot", compile_call_rules(root)) +
         array("kRecorderFilterOfUsers", compile_call_rules(users)) +
         array("kPretenceFilter", compile_call_rules(pretence));
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 4) return 2;
  const std::string json = corten::read_file(argv[1]);
  const std::string profile = fmt::format(
      "// Made from seccomp-docker.json.\nconstexpr std::string_view kProfile = R\"json({})json\";\n", json);
  corten::write_file_atomic(
      argv[2], profile + array("kDefaultFilter", corten::sandbox::compile_seccomp_profile(
                                                     json, corten::sandbox::kDefaultCapabilityBits)));
  corten::write_file_atomic(argv[3], recorder_filters());
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "seccomp_generator: {}\n", error.what());
  return 1;
}
