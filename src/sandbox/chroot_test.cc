// Steps where nothing can be mounted. Namespaces are to be had here, they are just not used.
#include "sandbox/chroot.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/beneath.h"
#include "base/error.h"
#include "sandbox/kernel.h"
#include "sandbox/landlock.h"
#include "sandbox/test_box.h"

namespace corten::sandbox {
namespace {

class Chroot : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(TestBox::problem(), "");
    if (TestBox::entered().records_owners()) GTEST_SKIP() << "a recorder is for namespaces";
  }
  Spec spec(const std::string& script) const {
    Spec spec;
    spec.has_namespaces = false;
    spec.root.plain.path = {box.lower()};
    spec.argv = {"/bin/sh", "-c", script};
    spec.environment = {"PATH=/bin"};
    return spec;
  }
  std::string error_of(const Spec& spec) const {
    try {
      box.run(spec);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  // A directory beside the root, with a file.
  std::string source() const {
    make_directories_on_host(box / "source");
    write_file_atomic(box / "source/file", "from outside\n");
    return box / "source";
  }
  bool has(const std::string& path) const { return path_exists(box.lower() + "/" + path); }

  TestBox box;
};

TEST_F(Chroot, AProgramRunsAndWritesAndEnds) {
  Spec one = spec("echo x >/made; pwd; exit 3");
  one.directory = RootfsPath("etc");
  const Result result = box.run(one);
  EXPECT_EQ(result.output, "/etc\n");
  EXPECT_EQ(result.exit.code, 3);
  EXPECT_TRUE(has("made"));
  EXPECT_TRUE(has("proc") && has("sys") && has("dev"));  // as after mounts
  EXPECT_FALSE(has("dev/null"));
  Spec missing = spec("");
  missing.argv = {"/bin/not-there"};
  EXPECT_EQ(box.run(missing).exit.code, 127);
  missing.argv = {"true"};
  missing.directory = RootfsPath("not/there");
  EXPECT_EQ(error_of(missing), "change to the directory /not/there: no such file or directory");
}

// run() reads what they could write until the last of them is gone.
TEST_F(Chroot, NobodyIsLeft) {
  const Result result =
      box.run(spec("sleep 1000 & (setsid sleep 1000 &); (trap '' TERM HUP INT; while :; do sleep 1; done) & "
                   "echo started; exit 4"));
  // Without CAP_MKNOD there is no /dev/null for jobs in the background, and the shell says so.
  EXPECT_NE(result.output.find("started\n"), std::string::npos) << result.output;
  EXPECT_EQ(result.exit.code, 4);
}

TEST_F(Chroot, AKilledStepTakesAllWithIt) {
  Pipe pipe = make_pipe();
  Spec forever = spec("sleep 1000 & (setsid sleep 1000 &) ; echo up; sleep 1000");
  forever.stdout_fd = forever.stderr_fd = pipe.write.get();
  Process process = Process::start(forever);
  pipe.write.reset();
  std::string output;
  while (output.find("up\n") == std::string::npos) {
    ASSERT_TRUE(wait_readable(pipe.read.get())) << output;
    char bytes[256];
    const ssize_t n = read(pipe.read.get(), bytes, sizeof bytes);
    ASSERT_GT(n, 0) << output;
    output.append(bytes, static_cast<size_t>(n));
  }
  process.kill();
  const Exit exit = process.wait();
  EXPECT_EQ(exit.signal, SIGKILL);
  // All that held the pipe is gone.
  read_all(pipe.read.get(), "output", 4096);
}

TEST_F(Chroot, LocksAreHeldUntilNobodyIsLeft) {
  FileLock one = FileLock::exclusive(box / "one"), two = FileLock::exclusive(box / "two"), other;
  Spec forever = spec("sleep 1000 & ls /proc/$$/fd 2>/dev/null; sleep 1000");
  forever.lock_fds = {two.fd(), one.fd()};
  Process process = Process::start(forever);
  one.release();
  two.release();
  EXPECT_FALSE(FileLock::try_exclusive(box / "one", other));
  EXPECT_FALSE(FileLock::try_exclusive(box / "two", other));
  process.kill();
  process.wait();
  EXPECT_TRUE(FileLock::try_exclusive(box / "one", other));
  EXPECT_TRUE(FileLock::try_exclusive(box / "two", other));
}

TEST_F(Chroot, WhatWouldBeMountedIsInItsPlaceMeanwhile) {
  box.write("etc/hosts", "the image's\n");
  box.write("etc/kept", "kept\n");
  Spec all = spec(
      "cat /data/file /etc/hosts /run/secret; echo new >/data/new; ls -d /etc/kept; ls -ld /t | cut -c1-10; "
      "echo y >/t/y");
  Mount bind, secret, tmpfs, over;
  bind.target = RootfsPath("data");
  bind.source.path = {source()};
  secret.target = RootfsPath("run/secret");
  secret.text = "s3cret\n";
  tmpfs.kind = Mount::Kind::kTmpfs;
  tmpfs.target = RootfsPath("t");
  all.mounts = {bind, secret, tmpfs};
  all.etc_hosts = "ours\n";
  const Result result = box.run(all);
  EXPECT_EQ(result.output, "from outside\nours\ns3cret\n/etc/kept\ndrwxrwxrwt\n");
  EXPECT_TRUE(path_exists(box / "source/new"));  // it is back
  EXPECT_EQ(read_file(box.lower() + "/etc/hosts"), "the image's\n");
  EXPECT_FALSE(has("data") || has("run/secret") || has("t"));
  std::vector<std::string> made, back;
  for (const Stub& stub : result.stubs) (stub.was_there ? back : made).push_back(stub.path.str());
  EXPECT_EQ(made, (std::vector<std::string>{"data", "run", "run/secret", "t"}));
  EXPECT_EQ(back, (std::vector<std::string>{"dev", "etc/hosts"}));
}

TEST_F(Chroot, AFailureTakesMountsAwayToo) {
  Spec one = spec("true");
  Mount bind, wrong;
  bind.target = RootfsPath("data");
  bind.source.path = {source()};
  wrong.target = RootfsPath("etc/passwd/x");
  wrong.text = "";
  one.mounts = {bind, wrong};
  EXPECT_EQ(error_of(one), "mount /etc/passwd/x: not a directory");
  EXPECT_TRUE(path_exists(box / "source/file"));
  EXPECT_FALSE(has("data"));
  EXPECT_FALSE(has("dev/null"));
}

TEST_F(Chroot, LinksOfTheRootDoNotLeadMountsOut) {
  const std::string outside = box / "outside";
  make_directories_on_host(outside);
  ASSERT_EQ(symlink(outside.c_str(), (box.lower() + "/link").c_str()), 0);
  Spec one = spec("cat /link/secret");
  Mount secret;
  secret.target = RootfsPath("link/secret");
  secret.text = "s\n";
  one.mounts = {secret};
  EXPECT_EQ(box.run(one).output, "s\n");
  EXPECT_FALSE(path_exists(outside + "/secret"));
}

TEST_F(Chroot, WhatCannotBeIsRefusedByName) {
  Spec alone = spec("true");
  alone.network = Network::kNone;
  EXPECT_EQ(error_of(alone), "RUN --network=none: network namespaces are not to be had here");
  UniqueFd directory = open_file(source(), O_PATH | O_DIRECTORY);
  Spec read_only = spec("true");
  Mount mount;
  mount.target = RootfsPath("data");
  mount.source.fd = directory.get();
  mount.read_only = true;
  read_only.mounts = {mount};
  EXPECT_EQ(error_of(read_only), "mount /data: nothing can be made read-only where nothing can be mounted");
}

TEST_F(Chroot, PrivilegesAreDockers) {
  Spec other = spec("id -u; echo x >/bin/x; setpriv --help >/dev/null 2>&1; mount -t tmpfs x /etc");
  other.uid = TestBox::entered().mapping.usable_ids() > 1000 ? 1000 : 1;
  const Result result = box.run(other);
  EXPECT_EQ(result.output.substr(0, result.output.find('\n')), fmt::format("{}", other.uid));
  EXPECT_NE(result.exit.code, 0);
  EXPECT_NE(box.run(spec("mount -t tmpfs x /etc")).exit.code, 0);
}

// A step that moves a directory away and lays a link in its place leads our cleaning nowhere, and takes no
// secret into the layer.
TEST_F(Chroot, WhatTheStepMovedIsNotFollowed) {
  make_directories_on_host(box / "victim/b");
  write_file_atomic(box / "victim/b/file", "the machine's\n");
  Spec moved = spec("mv /a /a2 && ln -s ../victim /a");
  Mount mount;
  mount.kind = Mount::Kind::kTmpfs;
  mount.target = RootfsPath("a/b");
  moved.mounts = {mount};
  EXPECT_EQ(error_of(moved), "/a/b: the step took it from its place");
  EXPECT_EQ(read_file(box / "victim/b/file"), "the machine's\n");
  Spec secret = spec("mv /run /run2 && mkdir /run");
  mount.kind = Mount::Kind::kBind;
  mount.target = RootfsPath("run/secrets/token");
  mount.text = "hush";
  secret.mounts = {mount};
  EXPECT_EQ(error_of(secret), "/run/secrets/token: the step took it from its place");
}

TEST_F(Chroot, SignalsDoNotReachUs) {
  if (landlock_abi() < 6) GTEST_SKIP() << "Landlock ABI " << landlock_abi() << " has no scope";
  if (is_forbidden(Feature::kLandlockScope)) GTEST_SKIP() << "forbidden";
  const Result result = box.run(spec(fmt::format("kill -0 {}", getpid())));
  EXPECT_NE(result.output.find("Operation not permitted"), std::string::npos) << result.output;
}

}  // namespace
}  // namespace corten::sandbox
