// The root and what is mounted in it; hostile roots above all.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "sandbox/kernel.h"
#include "sandbox/privilege.h"
#include "sandbox/test_box.h"

namespace corten::sandbox {
namespace {

// The kernel answers EAGAIN to "..", when anything anywhere is renamed meanwhile.
TEST(OpenBeneathRoot, RenamesElsewhereDoNotFailIt) {
  TempDir place = TempDir::for_test();
  ASSERT_EQ(mkdir((place / "a").c_str(), 0755), 0);
  ASSERT_EQ(mkdir((place / "a/b").c_str(), 0755), 0);
  write_file_atomic(place / "x", "");
  std::atomic<bool> done = false;
  std::thread other([&] {
    while (!done) {
      EXPECT_EQ(rename((place / "x").c_str(), (place / "y").c_str()), 0);
      EXPECT_EQ(rename((place / "y").c_str(), (place / "x").c_str()), 0);
    }
  });
  UniqueFd root = open_file(place.path(), O_PATH | O_DIRECTORY);
  int failed = 0;
  for (int i = 0; i < 20'000; i++) {
    UniqueFd fd(open_beneath_root(root.get(), "a/b/../../a/b/../b", O_PATH));
    if (!fd) failed++;
  }
  done = true;
  other.join();
  EXPECT_EQ(failed, 0);
}

class Mounts : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string problem = TestBox::problem();
    if (problem.empty()) return;
    const char* must_run = getenv("CORTEN_MUST_RUN");
    if (must_run != nullptr && *must_run == '1') FAIL() << problem;
    GTEST_SKIP() << problem;
  }

  void link(const std::string& text, const std::string& name) {
    ASSERT_EQ(symlink(text.c_str(), (box.lower() + "/" + name).c_str()), 0);
  }
  std::string error_of(const Spec& spec) {
    try {
      box.run(spec);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  std::string make_source(const std::string& text = "from the host\n") {
    make_directories_on_host(box / "source");
    UniqueFd fd = open_file(box / "source/file", O_WRONLY | O_CREAT | O_TRUNC);
    write_fully(fd.get(), text, "source");
    return box / "source";
  }
  static Mount bind(const std::string& source, const std::string& target, bool read_only = true) {
    Mount mount;
    mount.source.path = {source};
    mount.target = RootfsPath(target);
    mount.read_only = read_only;
    return mount;
  }
  static Mount tmpfs(const std::string& target) {
    Mount mount;
    mount.kind = Mount::Kind::kTmpfs;
    mount.target = RootfsPath(target);
    return mount;
  }
  Spec shell_spec(const std::string& script) { return box.spec({"/bin/sh", "-c", script}); }
  bool in_upper(const std::string& path) { return path_exists(box.upper() + "/" + path); }

  TestBox box;
};

TEST_F(Mounts, TheListIsKnown) {
  // Nothing of the machine is mounted, not even beneath the root: a box entered from outside would land
  // there.
  const Result result = box.shell("cut -d' ' -f5 /proc/self/mountinfo | sort");
  for (const std::string& point : split_words(result.output)) {
    const bool known = point == "/" || point == "/dev" || point.starts_with("/dev/") || point == "/proc" ||
                       point.starts_with("/proc/") || point == "/sys" || point.starts_with("/sys/");
    EXPECT_TRUE(known) << point;
  }
  EXPECT_TRUE(result.output.starts_with("/\n/dev\n")) << result.output;
}

TEST_F(Mounts, WritesGoToTheUpperAndTheLowerStaysAsItIs) {
  const Result result = box.shell("echo new > /etc/passwd; echo f > /f; rm /bin/true; mkdir /d");
  EXPECT_EQ(result.exit.code, 0) << result.output;
  EXPECT_EQ(read_file(box.lower() + "/etc/passwd"), "root:x:0:0::/root:/bin/sh\n");
  EXPECT_FALSE(path_exists(box.lower() + "/f"));
  EXPECT_EQ(read_file(box.upper() + "/f"), "f\n");
  struct stat st;
  ASSERT_EQ(lstat((box.upper() + "/bin/true").c_str(), &st), 0);
  EXPECT_TRUE(S_ISCHR(st.st_mode));  // the whiteout
  EXPECT_EQ(st.st_rdev, 0u);
}

TEST_F(Mounts, AReplacedDirectoryIsOpaque) {
  // What a plain overlay cannot do in a user namespace.
  const Result result = box.shell("rm -r /etc && mkdir /etc && touch /etc/x && ls /etc");
  EXPECT_EQ(result.output, "x\n");
  char value[8];
  EXPECT_EQ(getxattr((box.upper() + "/etc").c_str(), "user.overlay.opaque", value, sizeof value), 1);
}

TEST_F(Mounts, ManyLayersInTheirOrder) {
  Spec spec = shell_spec("cat /who; ls / | grep -c '^layer'");
  spec.root.lowers.clear();
  for (int i = 0; i < 130; i++) {
    const std::string layer = box / fmt::format("a rather long name, with a colon: and a back\\slash {}", i);
    make_directories_on_host(layer);
    write_fully(open_file(layer + "/who", O_WRONLY | O_CREAT).get(), fmt::format("{}\n", i), layer);
    write_fully(open_file(layer + fmt::format("/layer{}", i), O_WRONLY | O_CREAT).get(), "", layer);
    spec.root.lowers.push_back({.path = {layer}, .fd = -1});
  }
  spec.root.lowers.push_back({.path = {box.lower()}, .fd = -1});
  EXPECT_EQ(box.run(spec).output, "0\n130\n");
}

TEST_F(Mounts, LayersByDescriptor) {
  UniqueFd lower = open_file(box.lower(), O_PATH | O_DIRECTORY);
  Spec spec = shell_spec("cat /etc/passwd");
  spec.root.lowers = {{.path = {}, .fd = lower.get()}};
  EXPECT_EQ(box.run(spec).output, "root:x:0:0::/root:/bin/sh\n");
}

TEST_F(Mounts, AMissingLayerIsNamed) {
  Spec spec = shell_spec("true");
  spec.root.lowers.push_back({.path = {"/not/there"}, .fd = -1});
  EXPECT_NE(error_of(spec).find("/not/there"), std::string::npos);
}

TEST_F(Mounts, AReadOnlyRootStillHasItsMountPoints) {
  Spec spec =
      shell_spec("cat /new/point/file; touch /x 2>/dev/null || echo refused; touch /tmp/x && echo tmp");
  spec.root.upper = spec.root.work = {};
  spec.mounts = {bind(make_source(), "/new/point"), tmpfs("/tmp")};
  EXPECT_EQ(box.run(spec).output, "from the host\nrefused\ntmp\n");
  spec.root.read_only = true;
  spec.root.upper = {box.upper()};
  spec.root.work = {box / "work"};
  EXPECT_EQ(box.run(spec).output, "from the host\nrefused\ntmp\n");
}

TEST_F(Mounts, APlainDirectoryIsWrittenThrough) {
  Spec spec = shell_spec("echo through > /through; ls /proc/self/status");
  spec.root.plain.path = {box.lower()};
  EXPECT_EQ(box.run(spec).exit.code, 0);
  EXPECT_EQ(read_file(box.lower() + "/through"), "through\n");
}

TEST_F(Mounts, HostsAndResolverAreSeenAndNeverWritten) {
  Spec spec = shell_spec("cat /etc/hosts /etc/resolv.conf; echo x >> /etc/resolv.conf");
  spec.etc_hosts = "127.0.0.1 localhost\n";
  spec.etc_resolv_conf = "nameserver 192.0.2.1\n";
  const Result result = box.run(spec);
  EXPECT_TRUE(result.output.starts_with("127.0.0.1 localhost\nnameserver 192.0.2.1\n")) << result.output;
  EXPECT_NE(result.exit.code, 0);
  ASSERT_EQ(result.stubs.size(), 2u);
  EXPECT_EQ(result.stubs[0].path.absolute(), "/etc/hosts");
  EXPECT_EQ(result.stubs[1].path.absolute(), "/etc/resolv.conf");
  EXPECT_FALSE(result.stubs[0].is_directory);
  EXPECT_EQ(read_file(box.upper() + "/etc/resolv.conf"), "");  // the mount point, which the caller removes
}

TEST_F(Mounts, AResolverThatIsADanglingLinkIsFollowedInside) {
  link("../run/resolve/stub.conf", "etc/resolv.conf");
  Spec spec = shell_spec("cat /etc/resolv.conf");
  spec.etc_resolv_conf = "nameserver 192.0.2.1\n";
  const Result result = box.run(spec);
  EXPECT_EQ(result.output, "nameserver 192.0.2.1\n");
  ASSERT_EQ(result.stubs.size(), 3u);
  EXPECT_EQ(result.stubs[0].path.str(), "run");
  EXPECT_EQ(result.stubs[1].path.str(), "run/resolve");
  EXPECT_EQ(result.stubs[2].path.str(), "run/resolve/stub.conf");
}

TEST_F(Mounts, StubsAreReportedParentsFirst) {
  Spec spec = shell_spec("true");
  spec.mounts = {bind(make_source(), "/a/b/c"), bind(make_source(), "/etc"),
                 bind(make_source() + "/file", "/a/file")};
  const Result result = box.run(spec);
  std::vector<std::string> names;
  for (const Stub& stub : result.stubs) names.push_back(stub.path.str() + (stub.is_directory ? "/" : ""));
  EXPECT_EQ(names, (std::vector<std::string>{"a/", "a/b/", "a/b/c/", "a/file"}));
  for (const char* name : {"a/b/c", "a/file"}) EXPECT_TRUE(in_upper(name));
  EXPECT_TRUE(in_upper("proc") && in_upper("sys") && in_upper("dev"));  // stay, as with BuildKit
}

TEST_F(Mounts, AStubInsideAnotherMountIsNotTheLayersBusiness) {
  Spec spec = shell_spec("cat /mnt/in/file");
  spec.mounts = {tmpfs("/mnt"), bind(make_source(), "/mnt/in")};
  const Result result = box.run(spec);
  EXPECT_EQ(result.output, "from the host\n");
  ASSERT_EQ(result.stubs.size(), 1u);
  EXPECT_EQ(result.stubs[0].path.str(), "mnt");
}

TEST_F(Mounts, AMissingPointInAReadOnlyBindIsAnError) {
  Spec spec = shell_spec("true");
  spec.mounts = {bind(make_source(), "/mnt"), tmpfs("/mnt/in")};
  EXPECT_EQ(error_of(spec), "mount /mnt/in: read-only file system");
  EXPECT_FALSE(path_exists(box / "source/in"));
}

TEST_F(Mounts, BindsAreReadOnlyOrNot) {
  Spec spec = shell_spec("cat /mnt/file; echo changed > /mnt/file");
  spec.mounts = {bind(make_source(), "/mnt")};
  EXPECT_NE(box.run(spec).exit.code, 0);
  EXPECT_EQ(read_file(box / "source/file"), "from the host\n");
  spec.mounts[0].read_only = false;
  EXPECT_EQ(box.run(spec).exit.code, 0);
  EXPECT_EQ(read_file(box / "source/file"), "changed\n");
}

TEST_F(Mounts, AnOverlayedBindDiscardsItsWrites) {
  Spec spec = shell_spec("echo changed > /mnt/file; rm -f /mnt/other; touch /mnt/new; cat /mnt/file");
  Mount mount = bind(make_source(), "/mnt", false);
  mount.kind = Mount::Kind::kOverlay;
  spec.mounts = {mount};
  EXPECT_EQ(box.run(spec).output, "changed\n");
  EXPECT_EQ(read_file(box / "source/file"), "from the host\n");
  EXPECT_FALSE(path_exists(box / "source/new"));
  make_directories_on_host(box / "mount-upper");
  make_directories_on_host(box / "mount-work");
  spec.mounts[0].upper = {box / "mount-upper"};
  spec.mounts[0].work = {box / "mount-work"};
  EXPECT_EQ(box.run(spec).output, "changed\n");
  EXPECT_EQ(read_file(box / "source/file"), "from the host\n");
  EXPECT_EQ(read_file(box / "mount-upper/file"), "changed\n");
}

TEST_F(Mounts, OfTwoOnOneTargetTheLaterWins) {
  Spec spec = shell_spec("ls -A /mnt");
  spec.mounts = {bind(make_source(), "/mnt"), tmpfs("/mnt")};
  EXPECT_EQ(box.run(spec).output, "");
  std::swap(spec.mounts[0], spec.mounts[1]);
  EXPECT_EQ(box.run(spec).output, "file\n");
}

TEST_F(Mounts, ModesAndOptionsOfTmpfs) {
  make_directories_on_host(box.lower() + "/private");
  chmod((box.lower() + "/private").c_str(), 0710);
  Spec spec = shell_spec(
      "stat -c %a /private /fresh /given; cp /bin/busybox /fresh/b; /fresh/b true || echo no exec; touch "
      "/ro/x 2>/dev/null || echo read-only");
  spec.mounts = {tmpfs("/private"), tmpfs("/fresh"), tmpfs("/given"), tmpfs("/ro")};
  spec.mounts[1].no_exec = true;
  spec.mounts[2].mode = 0700;
  spec.mounts[3].read_only = true;
  const std::string output = box.run(spec).output;
  EXPECT_TRUE(output.starts_with("710\n1777\n700\n")) << output;
  EXPECT_NE(output.find("no exec"), std::string::npos);
  EXPECT_TRUE(output.ends_with("read-only\n"));
}

TEST_F(Mounts, SizeOfTmpfs) {
  Spec spec = shell_spec("dd if=/dev/zero of=/mnt/a bs=1024 count=1024 2>/dev/null");
  spec.mounts = {tmpfs("/mnt")};
  spec.mounts[0].size_bytes = 64 << 10;
  EXPECT_NE(box.run(spec).exit.code, 0);
  spec.mounts[0].size_bytes = 4 << 20;
  EXPECT_EQ(box.run(spec).exit.code, 0);
}

TEST_F(Mounts, SecretsAreInMemoryWithTheirOwner) {
  Spec spec = shell_spec("cat /run/secrets/key && stat -c '%a %u %g' /run/secrets/key");
  Mount secret;
  secret.target = RootfsPath("/run/secrets/key");
  secret.text = "s3cret\n";
  secret.text_uid = 42;
  secret.text_gid = 43;
  spec.mounts = {secret};
  const Result result = box.run(spec);
  EXPECT_EQ(result.output, "s3cret\n400 42 43\n");
  EXPECT_EQ(read_file(box.upper() + "/run/secrets/key"), "");
  spec.uid = 7;
  EXPECT_NE(box.run(spec).exit.code, 0);  // somebody else
}

TEST_F(Mounts, TheWrongKindOfTargetIsAnError) {
  Spec spec = shell_spec("true");
  spec.mounts = {bind(make_source(), "/etc/passwd")};
  EXPECT_EQ(error_of(spec), "mount /etc/passwd: not a directory");
  spec.mounts = {bind(make_source() + "/file", "/etc")};
  EXPECT_EQ(error_of(spec), "mount /etc: is a directory");
  spec.mounts = {bind(make_source(), "/")};
  EXPECT_EQ(error_of(spec), "invalid mount target \"/\"");
  spec.mounts = {bind(make_source(), "/etc/passwd/x")};
  EXPECT_EQ(error_of(spec), "mount /etc/passwd/x: not a directory");
}

// --- roots that mean harm

TEST_F(Mounts, ADevThatIsALinkDoesNotLeadOut) {
  const std::string outside = box / "outside";
  make_directories_on_host(outside);
  link(outside, "dev");
  const Result result = box.shell("ls -d /dev/null /dev/fd");
  EXPECT_EQ(result.exit.code, 0) << result.output;
  EXPECT_FALSE(path_exists(outside + "/null"));
  EXPECT_FALSE(path_exists(outside + "/fd"));
  EXPECT_TRUE(in_upper(outside.substr(1)));  // made inside
}

TEST_F(Mounts, LinksClimbOnlyToTheRoot) {
  const std::string outside = make_source("outside\n");
  link("../../../../../../.." + outside, "up");
  link(outside, "absolute");
  for (const char* target : {"/up/inner", "/absolute/inner", "/up", "/absolute"}) {
    Spec spec = shell_spec("true");
    spec.mounts = {tmpfs(target)};
    EXPECT_EQ(error_of(spec), "no error") << target;
    EXPECT_FALSE(path_exists(outside + "/inner"));
  }
  EXPECT_EQ(read_file(outside + "/file"), "outside\n");
}

TEST_F(Mounts, LinksInACircleAreRefused) {
  link("b", "a");
  link("a", "b");
  Spec spec = shell_spec("true");
  spec.mounts = {tmpfs("/a/c")};
  EXPECT_EQ(error_of(spec), "mount /a/c: too many levels of symbolic links");
}

TEST_F(Mounts, AProcThatIsALinkIsRefused) {
  link("/etc", "proc");
  EXPECT_TRUE(error_of(shell_spec("true")).starts_with("mount /proc: ")) << error_of(shell_spec("true"));
}

TEST_F(Mounts, LinksOfProcAreNotFollowed) {
  link("/proc/1/root/tmp", "magic");
  Spec spec = shell_spec("true");
  spec.mounts = {tmpfs("/magic/x")};
  EXPECT_NE(error_of(spec), "no error");
  spec.mounts = {tmpfs("/proc/self/root/tmp/x")};
  error_of(spec);  // either way: nothing of the machine is touched
  EXPECT_FALSE(path_exists("/tmp/x"));
}

TEST_F(Mounts, AnEmptyRootHasNoProgramButABox) {
  Spec spec;
  spec.one_id = TestBox::entered().records_owners();
  spec.argv = {"/bin/sh"};
  Process process = Process::start(spec);
  EXPECT_EQ(process.wait().exec_error, "exec: \"/bin/sh\": stat /bin/sh: no such file or directory");
}

TEST_F(Mounts, MemoryForUppersWhereTheDiskCarriesNone) {
  make_directories_on_host(box / "memory");
  mount_memory({box / "memory"}, 8 << 20);
  make_directories_on_host(box / "memory/upper");
  make_directories_on_host(box / "memory/work");
  Spec spec = shell_spec("echo x > /x");
  spec.root.upper = {box / "memory/upper"};
  spec.root.work = {box / "memory/work"};
  EXPECT_EQ(box.run(spec).exit.code, 0);
  EXPECT_EQ(read_file(box / "memory/upper/x"), "x\n");
  unmount({box / "memory"});
  EXPECT_FALSE(path_exists(box / "memory/upper"));
}

}  // namespace
}  // namespace corten::sandbox
