// Climbing, each time in a forked child: this process itself must stay where it is.
#include "sandbox/privilege.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <functional>

#include "base/beneath.h"
#include "base/error.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"

namespace corten::sandbox {
namespace {

// The child's exit code; what it throws is printed.
int in_child(const std::function<int()>& body) {
  const pid_t pid = fork();
  if (pid == 0) {
    int code = 99;
    try {
      code = body();
    } catch (const Error& error) {
      fmt::print(stderr, "{} ({})\n", error.what(), error.hint());
    }
    _exit(code);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

class Privilege : public ::testing::Test {
 protected:
  void SetUp() override {
    rung = probe_privilege();
    if (rung <= Rung::kOneId) return;
    const std::string problem = fmt::format("this machine gives: {}", rung_name(rung));
    const char* must_run = getenv("CORTEN_MUST_RUN");
    if (must_run != nullptr && *must_run == '1') FAIL() << problem;
    GTEST_SKIP() << problem;
  }
  Rung rung = Rung::kNothing;
};

TEST_F(Privilege, TheProbeSaysWhatEnterThenDoes) {
  const Rung expected = rung;
  EXPECT_EQ(in_child([&] { return enter().rung == expected && getuid() == 0 && getgid() == 0 ? 0 : 1; }), 0);
}

TEST_F(Privilege, AllIdsOfTheMappingWork) {
  TempDir directory = TempDir::for_test();
  EXPECT_EQ(
      in_child([&] {
        const Entered entered = enter();
        if (entered.records_owners()) return 0;  // there is only one
        const std::string file = directory / "file";
        write_file_atomic(file, "x");
        for (uint32_t id : {1u, 1000u, std::min(entered.mapping.usable_ids() - 1, 65535u)})
          if (chown(file.c_str(), id, id) != 0) return 1;
        struct stat st;
        if (stat(file.c_str(), &st) != 0 || st.st_uid != std::min(entered.mapping.usable_ids() - 1, 65535u))
          return 2;
        remove_tree(file);  // files of other ids are deleted from inside
        return path_exists(file) ? 3 : 0;
      }),
      0);
}

TEST_F(Privilege, MountsAreNotSeenOutside) {
  TempDir directory = TempDir::for_test();
  EXPECT_EQ(in_child([&] {
              enter();
              mount_memory({directory.path()});
              write_file_atomic(directory / "inside", "x");
              return 0;
            }),
            0);
  EXPECT_FALSE(path_exists(directory / "inside"));
}

TEST_F(Privilege, AnotherProcessFindsTheWayIn) {
  Pipe pipe = make_pipe();
  const pid_t owner = fork();
  if (owner == 0) {
    enter();
    const pid_t self = getpid();
    if (write(pipe.write.get(), &self, sizeof self) != sizeof self) _exit(1);
    pause();
    _exit(0);
  }
  pid_t pid = 0;
  ASSERT_EQ(read(pipe.read.get(), &pid, sizeof pid), static_cast<ssize_t>(sizeof pid));
  const Rung expected = rung;
  IdMapping mapping = planned_mapping().value_or(IdMapping{});
  if (rung == Rung::kOneId)
    mapping = {.uids = {{.inside = 0, .outside = getuid(), .count = 1}},
               .gids = {{.inside = 0, .outside = getgid(), .count = 1}}};
  EXPECT_EQ(in_child([&] {
              const Entered entered = enter_of(pid);
              if (entered.rung != expected || getuid() != 0) return 1;
              return entered.mapping == mapping ? 0 : 2;
            }),
            0);
  kill(owner, SIGKILL);
  waitpid(owner, nullptr, 0);
}

TEST_F(Privilege, WeStayReadableToOurselves) {
  EXPECT_EQ(in_child([] {
              enter();
              return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1 ? 0 : 1;
            }),
            0);
}

TEST(PrivilegeLadder, WithoutARangeOneIdIsTakenAndTheLineThatMendsNamed) {
  if (probe_privilege() != Rung::kRoot)
    return;  // only root can become somebody without a range; the run as root sees to it
  EXPECT_EQ(in_child([] {
              if (setgid(64999) != 0 || setuid(64999) != 0) return 1;
              const Entered entered = enter();
              if (entered.rung != Rung::kOneId || !entered.records_owners() || getuid() != 0) return 2;
              if (entered.mapping.to_string() != "64999" || entered.mapping.usable_ids() != 1) return 3;
              const Obstacle& obstacle = entered.obstacles.back();
              if (obstacle.rung != Rung::kRange || obstacle.what.find("64999") == std::string::npos) return 4;
              return obstacle.climb.find("/etc/subuid") != std::string::npos ? 0 : 5;
            }),
            0);
}

TEST(PrivilegeLadder, WhatHasNoNamespacesIsRefusedByName) {
  const Entered entered{.rung = Rung::kChrootOnly,
                        .mapping = {},
                        .in_own_user_namespace = false,
                        .obstacles = {{.rung = Rung::kRange, .what = "seccomp says no", .climb = "ask it"}}};
  try {
    require_namespaces(entered, "containers");
    FAIL() << "it was let through";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()), "containers: namespaces are not to be had here; seccomp says no");
    EXPECT_EQ(error.hint(), "ask it");
  }
  EXPECT_NO_THROW(require_namespaces(
      {.rung = Rung::kOneId, .mapping = {}, .in_own_user_namespace = true, .obstacles = {}}, "x"));
  EXPECT_NE(limits_of(entered).find("not isolated"), std::string::npos);
}

}  // namespace
}  // namespace corten::sandbox
