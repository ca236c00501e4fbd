// What the machine says of itself in text, and what is said of a step's limits. Inside a container another
// wrote these files.
#include <limits.h>

#include <cstring>

#include "base/path.h"
#include "fuzz/fuzz.h"
#include "sandbox/cgroup.h"
#include "sandbox/id_mapping.h"
#include "sandbox/process_view.h"
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

// Memory of a step that waits for an answer: the first two bytes say where in a page it begins, the third how
// much of it can be read at once; behind its end is nothing. What is read is what the kernel would read
// there.
FUZZ_TARGET(notified_path, std::string("\0\0\xff/etc/passwd\0", 15),
            std::string("\xf8\x0f\x07/a/b/../c\0x", 14), std::string("\xff\x0f\x01/proc/self/fd/7\0", 19),
            std::string("\1\0\xff/dev/fd/-1\0", 14),
            std::string("\0\0\xff") + std::string(PATH_MAX - 1, 'a') + std::string(1, '\0'),
            std::string("\0\0\xff") + std::string(PATH_MAX, 'a') + std::string(1, '\0'),
            std::string("\0\0\xff/not ended", 13), std::string("\0\0\xff/dev/fd/4294967303\0", 22)) {
  constexpr size_t kHead = 3;
  if (input.size() < kHead) return;
  const uint64_t start =
      (uint64_t{1} << 47) + static_cast<uint8_t>(input[0]) + 256 * static_cast<uint8_t>(input[1]);
  const size_t most = 1 + 16 * size_t{static_cast<uint8_t>(input[2])};
  const std::string_view bytes = input.substr(kHead);
  MemoryReader memory = [&](uint64_t address, void* to, size_t size) -> ssize_t {
    REQUIRE(address >= start && size <= 4096 && address / 4096 == (address + size - 1) / 4096);
    const size_t at = address - start,
                 count = std::min({size, most, bytes.size() - std::min(at, bytes.size())});
    if (count == 0) return -EFAULT;
    memcpy(to, bytes.data() + at, count);
    return static_cast<ssize_t>(count);
  };
  std::string path;
  const int result = read_path(memory, start, path);
  const size_t end = bytes.substr(0, PATH_MAX).find('\0');
  if (end != bytes.npos)
    REQUIRE(result == 0 && path == bytes.substr(0, end));
  else
    REQUIRE(result == (bytes.size() < PATH_MAX ? -EFAULT : -ENAMETOOLONG));
  REQUIRE(path.size() <= PATH_MAX);
  if (auto fd = descriptor_named(path)) REQUIRE(*fd >= 0 && path.ends_with(std::to_string(*fd)));
  const NewName made = split_new_name(path);
  REQUIRE(!made.directory.empty() && made.name.find('/') == made.name.npos);
  if (!made.name.empty() && made.name != "." && made.name != "..")
    REQUIRE(RootfsPath(made.directory + "/" + made.name) == RootfsPath(path));
}

}  // namespace corten::fuzz
