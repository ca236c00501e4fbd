// What can, and above all what cannot, be done in a box. The same tests run as root and as an ordinary user
// (label `user`).
#include "sandbox/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "sandbox/lock_keeper.h"
#include "sandbox/network.h"
#include "sandbox/privilege.h"
#include "sandbox/test_box.h"

namespace corten::sandbox {
namespace {

class Sandbox : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string problem = TestBox::problem();
    if (problem.empty()) return;
    const char* must_run = getenv("CORTEN_MUST_RUN");
    if (must_run != nullptr && *must_run == '1') FAIL() << problem;
    GTEST_SKIP() << problem;
  }
  TestBox box;
};

TEST_F(Sandbox, GivesTheExitCodeAndTheOutput) {
  const Result result = box.shell("echo out; echo err >&2; exit 7");
  EXPECT_EQ(result.exit.code, 7);
  EXPECT_EQ(result.exit.signal, 0);
  EXPECT_EQ(result.output, "out\nerr\n");
  EXPECT_FALSE(result.exit.is_success());
}

TEST_F(Sandbox, IsProcessOneAndItsDeathIsTheDeathOfAll) {
  EXPECT_EQ(box.shell("echo $$").output, "1\n");
  // The daemon holds the pipe: reading to its end proves that it is gone.
  const Result result = box.shell("(sleep 1000; echo survived) & setsid sleep 1000 & echo started");
  EXPECT_EQ(result.output, "started\n");
  EXPECT_EQ(result.exit.code, 0);
}

TEST_F(Sandbox, KilledBySignal) {
  Spec spec = box.spec({"/bin/sleep", "1000"});
  Process process = Process::start(spec);
  process.kill();
  const Exit exit = process.wait();
  EXPECT_EQ(exit.signal, SIGKILL);
  EXPECT_EQ(exit.code, 137);
}

TEST_F(Sandbox, ADroppedProcessIsKilled) {
  pid_t pid;
  {
    Process process = Process::start(box.spec({"/bin/sleep", "1000"}));
    pid = process.pid();
    EXPECT_EQ(::kill(pid, 0), 0);
  }
  EXPECT_EQ(::kill(pid, 0), -1);
}

TEST_F(Sandbox, EnvironmentAndDirectoryAreExactlyThose) {
  Spec spec = box.spec({"/bin/sh", "-c", "/bin/env; pwd"});
  spec.environment = {"PATH=/bin", "A=b c"};
  spec.directory = RootfsPath("/etc");
  const Result result = box.run(spec);
  EXPECT_NE(result.output.find("A=b c\n"), std::string::npos);
  EXPECT_EQ(result.output.find("HOME="), std::string::npos);
  EXPECT_TRUE(result.output.ends_with("/etc\n"));
}

TEST_F(Sandbox, AMissingDirectoryIsAnErrorThatNamesIt) {
  Spec spec = box.spec({"/bin/true"});
  spec.directory = RootfsPath("/not/there");
  try {
    Process::start(spec);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "change to the directory /not/there: no such file or directory");
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  }
}

TEST_F(Sandbox, AProgramThatCannotBeStartedIsAResultInRuncsWords) {
  Exit exit = box.run(box.spec({"nope"})).exit;
  EXPECT_EQ(exit.exec_error, "exec: \"nope\": executable file not found in $PATH");
  EXPECT_EQ(exit.code, 127);
  exit = box.run(box.spec({"/bin/nope"})).exit;
  EXPECT_EQ(exit.exec_error, "exec: \"/bin/nope\": stat /bin/nope: no such file or directory");
  EXPECT_EQ(exit.code, 127);
  exit = box.run(box.spec({"/etc"})).exit;
  EXPECT_EQ(exit.exec_error, "exec: \"/etc\": is a directory");
  EXPECT_EQ(exit.code, 126);
  exit = box.run(box.spec({"/etc/passwd"})).exit;
  EXPECT_EQ(exit.exec_error, "exec: \"/etc/passwd\": permission denied");
  EXPECT_EQ(exit.code, 126);
  box.write("bin/junk", "no program", 0755);
  exit = box.run(box.spec({"junk"})).exit;
  EXPECT_EQ(exit.exec_error, "exec /bin/junk: exec format error");
  EXPECT_EQ(exit.code, 126);
}

TEST_F(Sandbox, LooksTheProgramUpInItsOwnPath) {
  Spec spec = box.spec({"true"});
  EXPECT_EQ(box.run(spec).exit.code, 0);
  spec.environment = {"PATH=/etc"};
  EXPECT_EQ(box.run(spec).exit.code, 127);
  spec.environment = {};
  EXPECT_EQ(box.run(spec).exit.code, 127);
}

TEST_F(Sandbox, RootHasDockersCapabilitiesAndAFilter) {
  const Result result = box.shell("cat /proc/self/status");
  for (const char* line :
       {"CapInh:\t0000000000000000", "CapPrm:\t00000000a80425fb", "CapEff:\t00000000a80425fb",
        "CapBnd:\t00000000a80425fb", "CapAmb:\t0000000000000000", "NoNewPrivs:\t0", "Seccomp:\t2"})
    EXPECT_NE(result.output.find(line), std::string::npos) << line << "\n" << result.output;
}

TEST_F(Sandbox, OthersHaveNoneAndTheirGroups) {
  Spec spec = box.spec({"/bin/sh", "-c", "cat /proc/self/status; id -u; id -g; touch /x"});
  spec.uid = 42;
  spec.gid = 43;
  spec.groups = {7, 8};
  const Result result = box.run(spec);
  for (const char* line :
       {"CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t00000000a80425fb",
        "Uid:\t42\t42\t42\t42", "Gid:\t43\t43\t43\t43", "Groups:\t7 8"})
    EXPECT_NE(result.output.find(line), std::string::npos) << line << "\n" << result.output;
  EXPECT_NE(result.exit.code, 0);  // touch
}

TEST_F(Sandbox, OwnersAreReal) {
  EXPECT_EQ(box.shell("touch /f; chown 100:200 /f; stat -c %u:%g /f").output, "100:200\n");
}

TEST_F(Sandbox, ASetuidProgramWorks) {
  // busybox drops what it does not need; a copied id would not. A setuid shell keeps the effective id with
  // `stat` on /proc.
  Spec spec = box.spec({"/bin/su-cat", "/root-only"});
  box.write("root-only", "secret\n", 0600);
  box.shell("cp /bin/busybox /bin/su-cat; chmod 4755 /bin/su-cat");
  spec.argv = {"/bin/sh", "-c", "grep NoNewPrivs /proc/self/status"};
  spec.uid = 42;
  EXPECT_EQ(box.run(spec).output, "NoNewPrivs:\t0\n");
}

TEST_F(Sandbox, MountsAndModulesAndClocksAreRefused) {
  for (const char* command :
       {"mount -t tmpfs none /mnt", "umount /proc", "unshare -m true", "dmesg -c", "hostname evil",
        "mknod /dev/mem2 b 8 0 && cat /dev/mem2 > /dev/null", "swapoff -a && false"})
    EXPECT_NE(box.shell(fmt::format("mkdir -p /mnt; {} 2>/dev/null", command)).exit.code, 0) << command;
}

TEST_F(Sandbox, ProcAndSysAreMaskedAndReadOnly) {
  const Result result = box.shell(R"sh(
    for f in kcore keys timer_list sched_debug slabinfo interrupts; do [ -e /proc/$f ] || continue; [ -z "$(head -c 1 /proc/$f 2>/dev/null)" ] || echo "/proc/$f can be read"; done
    for d in /proc/acpi /proc/scsi /proc/asound /sys/firmware; do [ -d $d ] || continue; [ -z "$(ls -A $d)" ] || echo "$d is not empty"; done
    for f in /proc/sys/kernel/domainname /proc/sysrq-trigger /sys/kernel/mm/ksm/run /sys/power/state; do [ -e $f ] || continue; (echo 0 > $f) 2>/dev/null && echo "$f can be written"; done
    touch /proc/irq/x 2>/dev/null && echo "irq"; true)sh");
  EXPECT_EQ(result.output, "");
  EXPECT_EQ(result.exit.code, 0);
}

TEST_F(Sandbox, InsecureIsNotMasked) {
  Spec spec =
      box.spec({"/bin/sh", "-c",
                "grep -E 'Seccomp:|CapEff' /proc/self/status; mount -t tmpfs none /etc && echo mounted"});
  spec.security = Security::kInsecure;
  const Result result = box.run(spec);
  EXPECT_NE(result.output.find("Seccomp:\t0"), std::string::npos);
  EXPECT_NE(result.output.find("mounted"), std::string::npos) << result.output;
}

// nohup, timeout and shells' background jobs ignore signals, and whoever started us may have ignored those
// that glibc keeps to itself: a step sees none of it.
TEST_F(Sandbox, SignalsAreAsForANewProcess) {
  struct Ignored {
    unsigned long before[4] = {}, ignore[4] = {1};  // the kernel's struct sigaction, SIG_IGN
    int number;
    explicit Ignored(int signal) : number(signal) { syscall(SYS_rt_sigaction, number, ignore, before, 8); }
    ~Ignored() { syscall(SYS_rt_sigaction, number, before, nullptr, 8); }
  } interrupt(SIGINT), internal(33);
  EXPECT_EQ(box.run(box.spec({"/bin/grep", "SigIgn", "/proc/self/status"})).output,
            "SigIgn:\t0000000000000000\n");
}

TEST_F(Sandbox, DevHasTheUsualDevicesOnly) {
  EXPECT_EQ(
      box.shell("ls /dev").output,
      std::string(access("/proc/kcore", F_OK) == 0 ? "core\n" : "") +
          "fd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n");
  const Result result = box.shell(
      "echo x > /dev/null && head -c 4 /dev/zero | wc -c && head -c 4 /dev/urandom | wc -c && touch "
      "/dev/shm/a && stat -c %a /dev/shm && echo ok > /dev/stderr");
  EXPECT_EQ(result.output, "4\n4\n1777\nok\n");
}

TEST_F(Sandbox, AStepCannotChangeTheMachinesDevices) {
  struct stat before, after;
  ASSERT_EQ(stat("/dev/null", &before), 0);
  box.shell("chmod 600 /dev/null; chown 5:5 /dev/null");
  ASSERT_EQ(stat("/dev/null", &after), 0);
  EXPECT_EQ(before.st_mode, after.st_mode);
  EXPECT_EQ(before.st_uid, after.st_uid);
}

TEST_F(Sandbox, SizeOfSharedMemory) {
  Spec spec = box.spec({"/bin/sh", "-c", "dd if=/dev/zero of=/dev/shm/a bs=1024 count=100 2>/dev/null"});
  EXPECT_EQ(box.run(spec).exit.code, 0);
  spec.shm_bytes = 64 << 10;
  EXPECT_NE(box.run(spec).exit.code, 0);
}

TEST_F(Sandbox, NoCoreFile) {
  EXPECT_EQ(box.shell("ulimit -c; ulimit -Hc").output, "0\n0\n");
  EXPECT_NE(box.shell("ulimit -c unlimited").exit.code, 0);
}

TEST_F(Sandbox, LimitsAreSet) {
  Spec spec = box.spec({"/bin/sh", "-c", "ulimit -n; ulimit -Hn"});
  spec.limits = {{.resource = RLIMIT_NOFILE, .soft = 100, .hard = 200}};
  EXPECT_EQ(box.run(spec).output, "100\n200\n");
}

TEST_F(Sandbox, HostNameIsItsOwn) {
  Spec spec = box.spec({"/bin/hostname"});
  spec.hostname = "my-step";
  char before[256], after[256];
  gethostname(before, sizeof before);
  EXPECT_EQ(box.run(spec).output, "my-step\n");
  gethostname(after, sizeof after);
  EXPECT_STREQ(before, after);
}

TEST_F(Sandbox, NetworkNoneHasOnlyLo) {
  Spec spec = box.spec({"/bin/sh", "-c",
                        "ls /sys/class/net; ip addr show lo | grep -c 'inet 127.0.0.1'; ping -c 1 -W 1 "
                        "127.0.0.1 >/dev/null && echo pong"});
  spec.network = Network::kNone;
  EXPECT_EQ(box.run(spec).output, "lo\n1\npong\n");
}

TEST_F(Sandbox, NetworkCanBeShared) {
  UniqueFd network = make_network_namespace();
  Spec spec = box.spec({"/bin/readlink", "/proc/self/ns/net"});
  spec.network = Network::kJoin;
  spec.network_fd = network.get();
  const std::string one = box.run(spec).output, two = box.run(spec).output;
  EXPECT_EQ(one, two);
  spec.network = Network::kHost;
  EXPECT_NE(box.run(spec).output, one);
}

TEST_F(Sandbox, OnlyTheThreeDescriptorsAreOpen) {
  UniqueFd leaky(open("/", O_RDONLY));  // without close-on-exec
  EXPECT_EQ(box.shell("ls /proc/$$/fd; true").output, "0\n1\n2\n");
  EXPECT_EQ(box.shell("cat; echo end").output, "end\n");  // standard input is /dev/null
}

TEST_F(Sandbox, TheLockLivesAsLongAsTheStep) {
  TempDir directory = TempDir::for_test();
  const LockKeeper keeper;
  FileLock lock = FileLock::exclusive(directory / "lock");
  Spec spec = box.spec({"/bin/sleep", "1000"});
  spec.lock_fds = {lock.fd()};
  spec.lock_keeper = &keeper;
  Process process = Process::start(spec);
  lock.release();
  FileLock other;
  EXPECT_FALSE(FileLock::try_exclusive(directory / "lock", other));
  process.kill();
  process.wait();
  EXPECT_TRUE(FileLock::try_exclusive(directory / "lock", other));
}

TEST_F(Sandbox, TheStepDoesNotSeeItsLocks) {
  TempDir directory = TempDir::for_test();
  const LockKeeper keeper;
  FileLock one = FileLock::exclusive(directory / "one"), two = FileLock::exclusive(directory / "two");
  Spec spec = box.spec({"/bin/sh", "-c", "ls /proc/self/fd; true"});
  spec.lock_fds = {one.fd(), two.fd()};
  spec.lock_keeper = &keeper;
  EXPECT_EQ(box.run(spec).output, "0\n1\n2\n3\n");  // 3: the directory itself
  // Nobody else holds them when run() is over.
  one.release();
  two.release();
  EXPECT_TRUE(FileLock::try_exclusive(directory / "one", one));
  EXPECT_TRUE(FileLock::try_exclusive(directory / "two", two));
}

TEST_F(Sandbox, ALockWithoutAKeeperIsRefused) {
  Spec spec = box.spec({"/bin/true"});
  spec.lock_fds = {0};
  EXPECT_THROW(Process::start(spec), Error);
}

// Starts a sleeper from a process that is then killed; gives the sleeper's pidfd.
UniqueFd orphan(const Spec& spec) {
  Pipe pipe = make_pipe();
  const pid_t starter = fork();
  if (starter == 0) {
    Process process = Process::start(spec);
    const pid_t pid = process.pid();
    if (write(pipe.write.get(), &pid, sizeof pid) != sizeof pid) _exit(1);
    pause();
    _exit(0);
  }
  pid_t pid = 0;
  EXPECT_EQ(read(pipe.read.get(), &pid, sizeof pid), static_cast<ssize_t>(sizeof pid));
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  EXPECT_TRUE(pidfd);
  ::kill(starter, SIGKILL);
  waitpid(starter, nullptr, 0);
  return pidfd;
}

TEST_F(Sandbox, TheStepDiesWithUs) {
  Spec spec = box.spec({"/bin/sleep", "1000"});
  spec.uid = 42;  // a change of ids switches the kernel's death signal off
  EXPECT_TRUE(wait_readable(orphan(spec).get()));
}

// We are killed and the step lives on (as it does for a moment even when it dies with us): its locks are
// held.
TEST_F(Sandbox, LocksOutliveUsAsLongAsTheStepLives) {
  TempDir directory = TempDir::for_test();
  Pipe pipe = make_pipe();
  const pid_t starter = fork();
  if (starter == 0) {
    const LockKeeper keeper;
    FileLock lock = FileLock::exclusive(directory / "lock");
    Spec spec = box.spec({"/bin/sleep", "1000"});
    spec.dies_with_parent = false;
    spec.lock_fds = {lock.fd()};
    spec.lock_keeper = &keeper;
    Process process = Process::start(spec);
    const pid_t pids[] = {process.pid(), keeper.pid()};
    if (write(pipe.write.get(), pids, sizeof pids) != sizeof pids) _exit(1);
    pause();
    _exit(0);
  }
  pid_t pids[2] = {};
  ASSERT_EQ(read(pipe.read.get(), pids, sizeof pids), static_cast<ssize_t>(sizeof pids));
  UniqueFd step(static_cast<int>(syscall(SYS_pidfd_open, pids[0], 0)));
  UniqueFd keeper(static_cast<int>(syscall(SYS_pidfd_open, pids[1], 0)));
  ASSERT_TRUE(step && keeper);
  ::kill(starter, SIGKILL);
  waitpid(starter, nullptr, 0);
  FileLock other;
  EXPECT_FALSE(FileLock::try_exclusive(directory / "lock", other));
  EXPECT_FALSE(wait_readable(keeper.get(), 100));
  EXPECT_EQ(syscall(SYS_pidfd_send_signal, step.get(), SIGKILL, nullptr, 0), 0);
  EXPECT_TRUE(wait_readable(keeper.get()));  // it ends with the last step
  EXPECT_TRUE(FileLock::try_exclusive(directory / "lock", other));
}

TEST_F(Sandbox, ADetachedOneDoesNot) {
  Spec spec = box.spec({"/bin/sleep", "1000"});
  spec.dies_with_parent = false;
  UniqueFd pidfd = orphan(spec);
  EXPECT_FALSE(wait_readable(pidfd.get(), 200));
  EXPECT_EQ(syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0), 0);
}

TEST_F(Sandbox, AddedCapabilitiesReachTheProgram) {
  Spec spec =
      box.spec({"/bin/sh", "-c",
                "mkdir -p /mnt; mount -t tmpfs none /mnt && echo mounted; grep CapEff /proc/self/status"});
  spec.capabilities = default_capabilities();
  spec.capabilities->push_back(*parse_capability("SYS_ADMIN"));
  EXPECT_EQ(box.run(spec).output, "mounted\nCapEff:\t00000000a82425fb\n");
  spec.argv[2] = "grep CapEff /proc/self/status";
  spec.capabilities = std::vector<int>{};
  EXPECT_EQ(box.run(spec).output, "CapEff:\t0000000000000000\n");
}

TEST_F(Sandbox, ASecondProcessEntersItsUserNamespace) {
  Process process = Process::start(box.spec({"/bin/sleep", "1000"}));
  const pid_t child = fork();
  if (child == 0) {
    const Entered entered = enter_of(process.pid());
    _exit(entered.mapping.has(0, 0) && getuid() == 0 ? 0 : 1);
  }
  int status = 1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(Sandbox, JoinsARunningBox) {
  Spec first = box.spec({"/bin/sh", "-c", "echo mark > /dev/shm/mark; sleep 1000"});
  first.hostname = "joined";
  first.network = Network::kNone;
  Process process = Process::start(first);
  Spec second =
      box.spec({"/bin/sh", "-c",
                "while ! [ -s /dev/shm/mark ]; do sleep 0.05; done; cat /dev/shm/mark; hostname; ls "
                "/sys/class/net; [ -d /proc/1 ] && echo one; grep -E 'CapEff|Seccomp:' /proc/self/status"});
  second.join_pidfd = process.pidfd();
  const Result result = box.run(second);
  EXPECT_EQ(result.output, "mark\njoined\nlo\none\nCapEff:\t00000000a80425fb\nSeccomp:\t2\n");
  Spec missing = box.spec({"nope"});
  missing.join_pidfd = process.pidfd();
  EXPECT_EQ(box.run(missing).exit.code, 127);
  process.kill();
  process.wait();
}

// As when a build is cancelled. Of interest to ThreadSanitizer.
TEST_F(Sandbox, OneThreadMayKillWhatAnotherWaitsFor) {
  Spec spec = box.spec({"/bin/sh", "-c", "while :; do :; done"});
  spec.root.upper = spec.root.work = {};
  spec.stdout_fd = spec.stderr_fd = -1;
  Process process = Process::start(spec);
  std::atomic<bool> is_over = false;
  std::thread killer([&] {
    do process.kill();
    while (!is_over);
  });
  EXPECT_EQ(process.wait().signal, SIGKILL);
  is_over = true;
  killer.join();
  EXPECT_THROW(process.wait(), Error);
}

TEST_F(Sandbox, ManyThreadsStartManySteps) {
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int i = 0; i < 4; i++)
    threads.emplace_back([&, i] {
      for (int k = 0; k < 5; k++) {
        Spec spec = box.spec({"/bin/sh", "-c", fmt::format("exit {}", i + k)});
        spec.root.upper = spec.root.work = {};
        spec.stdout_fd = spec.stderr_fd = -1;
        if (Process::start(spec).wait().code == i + k) good++;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 20);
}

}  // namespace
}  // namespace corten::sandbox
