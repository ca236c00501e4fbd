#include "sandbox/cgroup.h"

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/temp_dir.h"

namespace corten::sandbox {
namespace {

ResourceLimits limits_of(std::string_view text) {
  ResourceLimits limits;
  parse_resource(text, limits);
  return limits;
}

TEST(Resource, IsReadAsDockerWritesIt) {
  ResourceLimits limits = limits_of("memory=64m,memory-swap=-1,cpuset-cpus=0,1,cpu-quota=50000");
  EXPECT_EQ(limits.memory_bytes, 64u << 20);
  EXPECT_EQ(limits.memory_swap_bytes, -1);
  EXPECT_EQ(limits.cpuset_cpus, "0,1");
  EXPECT_EQ(limits.cpu_quota_us, 50000);
  EXPECT_TRUE(limits.any());
  EXPECT_FALSE(ResourceLimits().any());
  for (const char* bad : {"memory", "memory=", "memory=much", "memory=0", "disk=1g", "cpu-quota=x", "0,1"})
    EXPECT_THROW(limits_of(bad), Error) << bad;
}

TEST(Hierarchies, OfBothVersionsAtOnce) {
  auto found = parse_hierarchies(
      "24 30 0:22 / /proc rw - proc proc rw\n"
      "31 23 0:26 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
      "32 23 0:27 /docker/ab /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
      "33 23 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
      "9:name=systemd:/\n4:memory:/build/x\n3:cpu,cpuacct:/docker/ab/inner\n0::/../elsewhere\n");
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].own, "/sys/fs/cgroup/memory/build/x");
  EXPECT_TRUE(found[0].controllers.contains("memory"));
  EXPECT_EQ(found[1].own, "/sys/fs/cgroup/cpu,cpuacct/inner");
  EXPECT_EQ(found[2].own, "/sys/fs/cgroup/unified");
  EXPECT_TRUE(found[2].is_v2);
  EXPECT_TRUE(parse_hierarchies("rubbish\n1 2 3 - cgroup\n", ":::\n").empty());
}

TEST(Hierarchies, OurPlaceLiesBelowTheMount) {
  auto own = [](std::string_view root, std::string_view place) {
    return parse_hierarchies(fmt::format("33 23 0:28 {} /cg rw - cgroup2 cgroup2 rw\n", root),
                             fmt::format("0::{}\n", place))
        .at(0)
        .own;
  };
  EXPECT_EQ(own("/docker/1", "/docker/1/x"), "/cg/x");
  EXPECT_EQ(own("/docker/1", "/docker/12/x"), "/cg/docker/12/x");
  for (const char* place : {"/a/../../b", "/..", "/a/..", "b"}) EXPECT_EQ(own("/", place), "/cg") << place;
}

// The second version, without its kernel: a tree of plain files.
class UnifiedTest : public testing::Test {
 protected:
  UnifiedTest() {
    fill(root());
    fill(root() + "/user");
    fill(own());
    write_file_atomic(root() + "/user/cgroup.subtree_control", "cpu memory");
  }
  std::string root() { return dir_ / "cgroup"; }
  std::string own() { return root() + "/user/session"; }
  void fill(const std::string& directory) {
    make_directories_on_host(directory);
    write_file_atomic(directory + "/cgroup.controllers", "cpu memory");
    for (const char* file : {"cgroup.subtree_control", "cgroup.procs", "memory.max", "memory.swap.max",
                             "cpu.max", "cpu.weight", "memory.peak", "memory.events"})
      write_file_atomic(directory + "/" + file, "");
  }
  ControlGroup make(const ResourceLimits& limits) {
    CgroupHierarchy hierarchy{.is_v2 = true, .mount = root(), .own = own(), .controllers = {}};
    return ControlGroup::make(limits, {&hierarchy, 1}, [&](const std::string& directory) {
      made_ = directory;
      fill(directory);
    });
  }
  TempDir dir_ = TempDir::for_test();
  std::string made_;
};

TEST_F(UnifiedTest, LimitsAreWrittenInItsWords) {
  ControlGroup group = make(limits_of("memory=64m,cpu-quota=50000,cpu-shares=1024"));
  EXPECT_EQ(read_file(made_ + "/memory.max"), "67108864");
  EXPECT_EQ(read_file(made_ + "/memory.swap.max"), "67108864");
  EXPECT_EQ(read_file(made_ + "/cpu.max"), "50000 100000");
  EXPECT_EQ(read_file(made_ + "/cpu.weight"), "39");
  EXPECT_EQ(group.entrances().size(), 1u);
  write_file_atomic(made_ + "/memory.peak", "4096");
  write_file_atomic(made_ + "/memory.events", "low 0\noom 3\noom_kill 2\n");
  EXPECT_EQ(group.use().peak_bytes, 4096u);
  EXPECT_EQ(group.use().killed, 2u);
}

// Nobody may write where the controllers are handed down: named, with what was tried.
TEST_F(UnifiedTest, WhatCannotBeEnforcedIsNamed) {
  if (geteuid() == 0) {
    // root passes every permission: take the controller away instead.
    for (const std::string& directory : {root(), root() + "/user", own()})
      write_file_atomic(directory + "/cgroup.controllers", "cpu");
  } else {
    for (const std::string& directory : {root(), root() + "/user", own()})
      chmod((directory + "/cgroup.procs").c_str(), 0444);
  }
  try {
    make(limits_of("memory=64m"));
    FAIL() << "it was made";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_TRUE(std::string(error.what()).starts_with("memory=67.11MB cannot be enforced: ")) << error.what();
    EXPECT_NE(error.hint(), "");
  }
}

TEST_F(UnifiedTest, ASliceIsMadeWhereItIsNamed) {
  ResourceLimits limits = limits_of("memory=1g");
  limits.cgroup_parent = "build-ci.slice";
  ControlGroup group = make(limits);
  EXPECT_EQ(made_.substr(0, made_.rfind('/')), root() + "/build.slice/build-ci.slice");
  limits.cgroup_parent = "/../../elsewhere";
  ControlGroup other = make(limits);
  EXPECT_EQ(made_.substr(0, made_.rfind('/')), root() + "/elsewhere");
}

}  // namespace
}  // namespace corten::sandbox
