// What the machine says of itself in text, and what is said of a step's limits. Inside a container another
// wrote these files.
#include "fuzz/fuzz.h"
#include "sandbox/cgroup.h"
#include "sandbox/id_mapping.h"
#include "sandbox/seccomp_profile.h"
#include "sandbox/ulimit.h"

namespace corten::fuzz {

using namespace corten::sandbox;

// Text up to an empty line is mountinfo, then comes cgroup. Our own group lies below its hierarchy's mount.
FUZZ_TARGET(
    cgroup_hierarchies,
    "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n\n0::/user.slice/a\n",
    "36 25 0:31 /docker/1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\n4:memory:/docker/1/x\n",
    "1 2 3:4 /.. /a\\040b - cgroup2 c rw\n\n0::/../..\n", "- - -\n\n:::\n") {
  size_t middle = std::min(input.find("\n\n"), input.size());
  for (const CgroupHierarchy& hierarchy :
       parse_hierarchies(input.substr(0, middle), input.substr(std::min(middle + 2, input.size())))) {
    REQUIRE(!hierarchy.mount.empty() && hierarchy.own.starts_with(hierarchy.mount));
    REQUIRE(hierarchy.is_v2 || !hierarchy.controllers.empty());
    // Directories are made there.
    REQUIRE((hierarchy.own.substr(hierarchy.mount.size()) + "/").find("/../") == std::string::npos);
  }
}

FUZZ_TARGET(resource, "memory=1g,cpu-quota=50000", "cpuset-cpus=0,1,memory-swap=-1", "cgroup-parent=/a/../b",
            "memory=99999999999999999999g", "cpu-shares=-1") {
  tolerate({ErrorCode::kUsage, ErrorCode::kInvalid}, [&] {
    ResourceLimits limits;
    parse_resource(input, limits);
    REQUIRE(limits.any());
    limits_text(limits);
  });
  tolerate({ErrorCode::kInvalid, ErrorCode::kUsage}, [&] { parse_ulimit(input); });
}

FUZZ_TARGET(ulimit, "nofile=1024:2048", "core=-1", "nproc=unlimited", "stack=18446744073709551616") {
  tolerate({ErrorCode::kInvalid, ErrorCode::kUsage}, [&] { parse_ulimit(input); });
}

// A range never wraps around.
FUZZ_TARGET(id_ranges, "app:100000:65536\n", "1000:4294967295:2\n", "         0       1000          1\n",
            "0 0 4294967295\n") {
  for (const char* name : {"app", "root"})
    if (auto ids = parse_subids(input, name, 1000))
      REQUIRE(uint64_t{ids->start} + ids->count <= uint64_t{1} << 32);
  for (const IdRange& range : parse_id_map(input)) {
    REQUIRE(uint64_t{range.inside} + range.count <= uint64_t{1} << 32);
    REQUIRE(uint64_t{range.outside} + range.count <= uint64_t{1} << 32);
  }
  parse_user_name(input, 1000);
}

FUZZ_TARGET(
    seccomp_profile,
    R"({"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,"archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],"syscalls":[{"names":["read","clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2114060288,"op":"SCMP_CMP_MASKED_EQ"}]},{"names":["mount"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}}]})",
    R"({"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["x"],"action":"SCMP_ACT_LOG"}]})") {
  tolerate({ErrorCode::kInvalid, ErrorCode::kUnsupported}, [&] {
    std::vector<uint8_t> filter = compile_seccomp_profile(input, 0);
    REQUIRE(filter.size() % 8 == 0);
    REQUIRE(is_same_filter(input, 0, 0));
  });
}

}  // namespace corten::fuzz
