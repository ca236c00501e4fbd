// The system call filter and the socket scope, tried in a forked child of the test: what busybox cannot ask
// for.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <functional>

#include "base/error.h"
#include "sandbox/landlock.h"
#include "sandbox/plan.h"
#include "sandbox/seccomp_profile.h"
#include "sandbox/test_box.h"

namespace corten::sandbox {
namespace {

class Filter : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string problem = TestBox::problem();
    if (problem.empty()) return;
    const char* must_run = getenv("CORTEN_MUST_RUN");
    if (must_run != nullptr && *must_run == '1') FAIL() << problem;
    GTEST_SKIP() << problem;
  }

  // The errno of the call under the plan's operations; 0 when it went well.
  static int errno_under(const Plan& plan, const std::function<long()>& call) {
    const pid_t pid = fork();
    if (pid == 0) {
      Child child;
      for (const Operation& operation : plan.operations)
        if (operation.apply(child, operation) != 0) _exit(255);
      syscall(SYS_exit_group, call() == -1 ? errno : 0);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  static int filtered(const std::function<long()>& call, const Spec& spec = {}) {
    Plan plan;
    plan_seccomp(spec, plan);
    return errno_under(plan, call);
  }
};

TEST_F(Filter, RefusesWhatTheProfileDoesNotName) {
  EXPECT_EQ(filtered([] { return syscall(SYS_add_key, nullptr, nullptr, nullptr, 0, 0); }), EPERM);
  EXPECT_EQ(filtered([] { return syscall(SYS_keyctl, 0, 0, 0, 0, 0); }), EPERM);
  EXPECT_EQ(filtered([] { return syscall(SYS_fsopen, nullptr, 0); }), EPERM);
  EXPECT_EQ(filtered([] { return syscall(SYS_io_uring_setup, 0, nullptr); }), EPERM);
  EXPECT_EQ(filtered([] { return syscall(SYS_unshare, 0x10000000); }), EPERM);
  EXPECT_EQ(filtered([] { return syscall(SYS_bpf, 0, nullptr, 0); }), EPERM);
}

TEST_F(Filter, AllowsWhatItNames) {
  EXPECT_EQ(filtered([] { return syscall(SYS_getpid); }), 0);
  EXPECT_EQ(filtered([] { return socket(AF_INET, SOCK_DGRAM, 0); }), 0);
  EXPECT_EQ(filtered([] { return socket(AF_VSOCK, SOCK_STREAM, 0); }), EPERM);
  EXPECT_EQ(filtered([] { return syscall(SYS_personality, 0xffffffff) < 0 ? -1 : 0; }), 0);
  EXPECT_EQ(filtered([] { return syscall(SYS_personality, 0x0040000); }), EPERM);
}

TEST_F(Filter, NewCallsFallBackAsLibrariesExpect) {
  EXPECT_EQ(filtered([] { return syscall(SYS_clone3, nullptr, 0); }), ENOSYS);
  constexpr long kFchmodat2 = 452, kFileSetattr = 469, kOfTheFuture = 1000;
  const int without = [] { return syscall(kFchmodat2, -1, "/tmp", 0755, 0x8000) == -1 ? errno : 0; }();
  EXPECT_EQ(filtered([] { return syscall(kFchmodat2, -1, "/tmp", 0755, 0x8000); }),
            without);  // as the kernel itself answers
  EXPECT_EQ(filtered([] { return syscall(kFileSetattr, -1, "", nullptr, 0, 0); }), EPERM)
      << "known, and not in the profile";
  EXPECT_EQ(filtered([] { return syscall(kOfTheFuture); }), ENOSYS);
}

TEST_F(Filter, FollowsTheCapabilities) {
  Spec spec;
  spec.capabilities = default_capabilities();
  spec.capabilities->push_back(CAP_SYS_ADMIN);
  EXPECT_EQ(filtered([] { return syscall(SYS_fsopen, nullptr, 0); }, spec), EFAULT);
  EXPECT_EQ(filtered([] { return syscall(SYS_add_key, nullptr, nullptr, nullptr, 0, 0); }, spec), EPERM);
}

TEST_F(Filter, NoneWhenSwitchedOff) {
  Spec spec;
  spec.seccomp = false;
  EXPECT_NE(filtered([] { return syscall(SYS_add_key, nullptr, nullptr, nullptr, 0, 0); }, spec), EPERM);
}

#if defined(__x86_64__)
TEST_F(Filter, OldCallsOfI386AreFilteredToo) {
  // int 0x80 with the numbers of i386: 20 getpid, 286 add_key.
  auto call32 = [](long number) {
    long result;
    asm volatile("int $0x80"
                 : "=a"(result)
                 : "a"(number), "b"(0), "c"(0), "d"(0), "S"(0), "D"(0)
                 : "memory", "r8", "r9", "r10", "r11");
    if (result >= 0) return 0L;
    errno = static_cast<int>(-result);
    return -1L;
  };
  const int unfiltered = errno_under(Plan(), [&] { return call32(20); });
  if (unfiltered != 0) return;  // a kernel without the 32-bit calls has nothing to filter
  EXPECT_EQ(filtered([&] { return call32(20); }), 0);
  EXPECT_EQ(filtered([&] { return call32(286); }), EPERM);
}
#endif

TEST_F(Filter, AProfileThatIsNotUnderstoodIsRefused) {
  EXPECT_THROW(compile_seccomp_profile("{}", 0), Error);
  EXPECT_THROW(compile_seccomp_profile(R"({"defaultAction":"SCMP_ACT_ERRNO"})", 0), Error);
  EXPECT_THROW(
      compile_seccomp_profile(
          R"({"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_TRAP"}]})",
          0),
      Error);
}

TEST_F(Filter, AbstractSocketsOfTheMachineAreClosedOff) {
  if (!make_socket_scope()) GTEST_SKIP() << "Landlock ABI " << landlock_abi() << " has no socket scope";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = fmt::format("corten-test-{}", getpid());
  memcpy(address.sun_path + 1, name.data(), name.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  UniqueFd server(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(bind(server.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(server.get(), 5), 0);
  auto reach = [&] {
    return static_cast<long>(
        connect(socket(AF_UNIX, SOCK_STREAM, 0), reinterpret_cast<sockaddr*>(&address), size));
  };
  EXPECT_EQ(errno_under(Plan(), reach), 0);
  Plan plan;
  plan_landlock(Spec{}, plan);
  EXPECT_EQ(errno_under(plan, reach), EPERM);
}

}  // namespace
}  // namespace corten::sandbox
