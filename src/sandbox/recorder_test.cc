// Owners where only one id exists: run with CORTEN_FORBID=privileged-mounts,id-range, so that there is.
#include "sandbox/recorder.h"

#include <gtest/gtest.h>
#include <linux/audit.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/unique_fd.h"
#include "sandbox/recorder_filter.h"
#include "sandbox/test_box.h"

namespace corten::sandbox {
namespace {

class Recorded : public ::testing::Test {
 protected:
  void SetUp() override {
    if (TestBox::problem().empty()) {
      if (TestBox::entered().records_owners()) return;
      GTEST_SKIP() << "more than one id is here; the run sandbox_one_id has one";
    }
    FAIL() << TestBox::problem();
  }

  Result run(const std::string& script, uid_t uid = 0, gid_t gid = 0) {
    recorder = std::make_unique<Recorder>(Recorder::Options{.uid = uid, .gid = gid, .specials = specials});
    Spec spec = box.spec({"/bin/sh", "-c", script});
    spec.uid = uid;
    spec.gid = gid;
    spec.recorder = recorder.get();
    return box.run(spec);
  }
  std::string owner_of(const std::string& path) const {
    auto owner = read_recorded_owner((box.upper() + "/" + path).c_str());
    return owner ? owner->to_string() : "none";
  }

  TestBox box;
  std::vector<Recorder::Special> specials;
  std::unique_ptr<Recorder> recorder;
};

TEST_F(Recorded, AnOwnerIsSeenAtOnceAndGoesWithTheFile) {
  const Result result =
      run("echo x >/f && chown 33:34 /f && stat -c %u:%g /f && chown 5 /f && chgrp 6 /f && mv /f /g && stat "
          "-c %u:%g /g"
          " && ln /g /h && stat -c %u:%g /h && cd / && chown 7 g && stat -c %u:%g h");
  EXPECT_EQ(result.output, "33:34\n5:6\n5:6\n7:6\n");
  EXPECT_EQ(owner_of("g"), "7:6");
  EXPECT_EQ(owner_of("h"), "7:6");
}

TEST_F(Recorded, AnOwnerBelowIsSeenAndKeptWhenTheFileIsCopiedUp) {
  box.write("theirs", "a\n");
  ASSERT_EQ(write_recorded_owner((box.lower() + "/theirs").c_str(), {.uid = 1000, .gid = 50}), 0);
  EXPECT_EQ(run("stat -c %u:%g /theirs && echo b >>/theirs && stat -c %u:%g /theirs").output,
            "1000:50\n1000:50\n");
  EXPECT_EQ(owner_of("theirs"), "1000:50");
}

// A descriptor's name in /proc is a link; only who follows it asks about the file.
TEST_F(Recorded, ALinkToADescriptorIsALink) {
  EXPECT_EQ(run("echo x >/f && chown 33:34 /f && exec 7</f && stat -c '%F' /proc/self/fd/7 && stat -L -c "
                "'%u:%g %F' "
                "/proc/self/fd/7")
                .output,
            "symbolic link\n33:34 regular file\n");
}

TEST_F(Recorded, ANewFileAtAnOldPathIsTheSteps) {
  box.write("theirs", "a\n");
  ASSERT_EQ(write_recorded_owner((box.lower() + "/theirs").c_str(), {.uid = 1000, .gid = 50}), 0);
  EXPECT_EQ(run("rm /theirs && echo b >/theirs && stat -c %u:%g /theirs").output, "0:0\n");
  EXPECT_EQ(owner_of("theirs"), "none");
}

TEST_F(Recorded, LinksAndFifosAreRememberedByInodeAndBirth) {
  ASSERT_EQ(symlink("nowhere", (box.lower() + "/below").c_str()), 0);
  specials = {{.path = RootfsPath("below"), .owner = {.uid = 3, .gid = 4}}};
  EXPECT_EQ(run("ln -s x /l && chown -h 8:9 /l && mkfifo /p && chown 1:2 /p && stat -c %u:%g /l /p /below"
                " && ln -s x /l2 && stat -c %u:%g /l2 && mkdir /d && touch /d/f && chown -hR 6:6 /d")
                .output,
            "8:9\n1:2\n3:4\n0:0\n");
  EXPECT_EQ(recorder->owner_of_special(RootfsPath("l")), (RecordedOwner{.uid = 8, .gid = 9}));
  EXPECT_EQ(recorder->owner_of_special(RootfsPath("below")), (RecordedOwner{.uid = 3, .gid = 4}));
  EXPECT_FALSE(recorder->owner_of_special(RootfsPath("l2")));
  EXPECT_FALSE(recorder->owner_of_special(RootfsPath("not/there")));
  EXPECT_EQ(owner_of("d/f"), "6:6");
}

TEST_F(Recorded, ADeviceIsAnEmptyFileThatLooksLikeOne) {
  EXPECT_EQ(run("umask 027; mknod -m 666 /n c 1 3; mknod /b b 259 70000; stat -c '%F %a %t:%T' /n /b; mknod "
                "/n c 1 3;"
                "mknod /w c 0 0; wc -c <n")
                .output,
            "character special file 666 1:3\nblock special file 640 103:11170\nmknod: /n: File exists\n"
            "mknod: /w: Operation not permitted\n0\n");
  EXPECT_EQ(owner_of("n"), "0:0 c 1 3");
  EXPECT_EQ(owner_of("b"), "0:0 b 259 70000");
}

TEST_F(Recorded, ChownDoesTheRestOfWhatItDoes) {
  EXPECT_EQ(run("touch /s && chmod 6755 /s && chown 1:1 /s && stat -c %a /s; chown 1 /nowhere;"
                "ln -s /nowhere /dangling; chown 1 /dangling; chown 1 /bin/busybox/x")
                .output,
            "755\nchown: /nowhere: No such file or directory\n"
            "chown: /dangling: No such file or directory\nchown: /bin/busybox/x: Not a directory\n");
}

TEST_F(Recorded, WhatIsNotOursIsTheKernels) {
  box.write("etc/hosts", "");
  const std::string files =
      TestBox::entered().mapping.uids.front().outside == 0 ? "/etc/hosts" : "/proc/version /etc/hosts";
  recorder = std::make_unique<Recorder>(Recorder::Options{});
  Spec spec = box.spec(
      {"/bin/sh", "-c", "for f in " + files + "; do chown 1 $f && echo wrong; done; stat -c %u /etc/hosts"});
  spec.recorder = recorder.get();
  spec.etc_hosts = "x";
  const Result result = box.run(spec);
  EXPECT_NE(result.output.find("chown: /etc/hosts: Read-only file system\n0\n"), std::string::npos)
      << result.output;
  EXPECT_EQ(result.output.find("wrong"), std::string::npos) << result.output;
}

TEST_F(Recorded, PathsAreThoseOfTheStep) {
  EXPECT_EQ(
      run("mkdir -p /jail/bin /jail/in && cp /bin/busybox /jail/bin/sh && cp /bin/busybox /jail/bin/chown"
          " && ln -s /in /jail/link && touch /jail/in/f"
          " && chroot /jail /bin/chown 4:4 /link/f && cd /jail/in && chown 5 ../in/./f && stat -c %u:%g f "
          "/jail/in/f"
          " && cd /proc/self/root/jail && chown 6 in/f && stat -c %u in/f && exec 3<in/f && chown 9 "
          "/proc/self/fd/3"
          " && stat -L -c %u /dev/fd/3")
          .output,
      "5:4\n5:4\n6\n9\n");
  EXPECT_EQ(owner_of("jail/in/f"), "9:0");  // busybox takes the group from lstat: the link's
}

// A link of /proc that leads to a root (1 is the step's shell) is not gone through on the step's behalf.
TEST_F(Recorded, NoWayLeadsThroughLinksOfProc) {
  EXPECT_EQ(run("touch /f && chown 1 /proc/1/root/f; stat -c %u /f").output,
            "chown: /proc/1/root/f: Too many levels of symbolic links\n0\n");
  EXPECT_EQ(owner_of("f"), "none");
}

TEST_F(Recorded, ChangesOfUserSucceedForRoot) {
  box.write("etc/passwd", "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\n");
  EXPECT_EQ(run("su app -c 'echo as app; id -u'").output, "as app\n0\n");
}

TEST_F(Recorded, AnotherUserIsThatUser) {
  box.write("roots", "");
  ASSERT_EQ(write_recorded_owner((box.lower() + "/roots").c_str(), {}), 0);
  ASSERT_EQ(write_recorded_owner(box.upper().c_str(), {}), 0);
  const Result result =
      run("id -u; id -g; touch /mine; stat -c %u:%g /mine /roots /; chown 0 /mine; chown 1000 /roots;"
          "chgrp 50 /mine && chown 1000:50 /mine && stat -c %u:%g /mine; mknod /n c 1 3; grep Cap[PE] "
          "/proc/self/status",
          1000, 50);
  EXPECT_EQ(result.output,
            "1000\n50\n1000:50\n0:0\n0:0\nchown: /mine: Operation not permitted\n"
            "chown: /roots: Operation not permitted\n1000:50\nmknod: /n: Operation not permitted\n"
            "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n");
}

TEST_F(Recorded, APrivateFileHasItsOwner) {
  recorder = std::make_unique<Recorder>(Recorder::Options{});
  Spec spec = box.spec({"/bin/stat", "-c", "%u:%g %a", "/run/secret"});
  spec.recorder = recorder.get();
  Mount secret;
  secret.target = RootfsPath("run/secret");
  secret.text = "x";
  secret.text_uid = 12;
  secret.text_gid = 13;
  spec.mounts.push_back(secret);
  EXPECT_EQ(box.run(spec).output, "12:13 400\n");
}

TEST_F(Recorded, ManyAskAtOnceAndASignalDoesNotAskTwice) {
  const Result result =
      run("for i in 1 2 3 4 5 6 7 8; do (j=0; while [ $j -lt 50 ]; do touch /f$i.$j; chown $i /f$i.$j; "
          "j=$((j+1)); done) & done;"
          "wait; stat -c %u /f*.49 | tr '\\n' ' '; timeout -s USR1 0.01 true; mknod /n c 1 3 && echo made");
  EXPECT_EQ(result.output, "1 2 3 4 5 6 7 8 made\n");
}

TEST_F(Recorded, AStepThatCannotStartLeavesNoThreadWaiting) {
  recorder = std::make_unique<Recorder>(Recorder::Options{});
  Spec spec = box.spec({"/bin/not-there"});
  spec.recorder = recorder.get();
  EXPECT_EQ(box.run(spec).exit.code, 127);
  recorder = std::make_unique<Recorder>(Recorder::Options{});
  spec.recorder = recorder.get();
  spec.directory = RootfsPath("not/there");
  EXPECT_THROW(box.run(spec), Error);
  recorder.reset();
}

// Containers have no recorder: what they ask for is pretended, and nothing is kept.
TEST_F(Recorded, WithoutARecorderRootIsToldThatAllIsWell) {
  EXPECT_EQ(box.shell("touch /f && chown 33:33 /f && stat -c %u:%g /f").output, "0:0\n");
  Spec spec = box.spec({"/bin/sh", "-c", "id -u; id -g"});
  spec.uid = 101;
  spec.gid = 102;
  EXPECT_EQ(box.run(spec).output, "101\n102\n");
}

TEST(RecordedCalls, OlderFormsHaveTheirOwnNumbers) {
#if defined(__x86_64__)
  EXPECT_EQ(find_recorded_call(AUDIT_ARCH_X86_64, 92), RecordedCall::kChown);
  EXPECT_EQ(find_recorded_call(AUDIT_ARCH_X86_64, 260), RecordedCall::kFchownat);
  EXPECT_EQ(find_recorded_call(AUDIT_ARCH_X86_64, 0x40000000 + 92), RecordedCall::kChown);
  EXPECT_EQ(find_recorded_call(AUDIT_ARCH_I386, 182), RecordedCall::kChown16);
  EXPECT_EQ(find_recorded_call(AUDIT_ARCH_I386, 212), RecordedCall::kChown);
  EXPECT_FALSE(find_recorded_call(AUDIT_ARCH_I386, 106));  // its stat has another struct
#endif
  EXPECT_FALSE(find_recorded_call(AUDIT_ARCH_X86_64, 0));
}

}  // namespace
}  // namespace corten::sandbox
