#include "container/container.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <iostream>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "container/test_image.h"

namespace corten::container {

class Containers : public testing::Test {
 protected:
  void SetUp() override {
    std::string problem = TestStore::problem();
    if (problem.empty()) return;
    if (const char* must = getenv("CORTEN_MUST_RUN"); must && *must == '1') FAIL() << problem;
    std::cout << "skipped: " << problem << "\n";
    GTEST_SKIP() << problem;
  }
  std::string ps(const std::string& format, bool all = true) {
    return store.call([&](Context& context) { return ps_command({.all = all, .format = format}, context); })
        .out;
  }
  std::string logs(const std::string& name, LogsOptions options = {}) {
    options.container = name;
    return store.call([&](Context& context) { return logs_command(options, context); }).both;
  }
  Output rm(const std::string& name, bool force = true) {
    return store.call(
        [&](Context& context) { return rm_command({.containers = {name}, .force = force}, context); });
  }
  Output stop(StopOptions options) {
    return store.call([&](Context& context) { return stop_command(options, context); });
  }
  HealthStatus health(const std::string& name) { return store.find(name).health().status; }

  TestStore store;
};

TEST_F(Containers, AForegroundContainerGivesItsOutputAndItsExitCode) {
  Output output = store.run({.command = {"sh", "-c", "echo out; echo err >&2; exit 7"}, .remove = true});
  EXPECT_EQ(output.code, 7);
  EXPECT_EQ(output.out, "out\n");
  EXPECT_EQ(output.err, "err\n");
  EXPECT_TRUE(Container::list(store.store()).empty());
}

TEST_F(Containers, UserEnvironmentAndDirectoryAreTheImagesUnlessSaid) {
  store.save_image(
      "app",
      R"({"User":"app","Env":["PATH=/bin","A=1","B=2"],"WorkingDir":"/srv/new","Entrypoint":["sh","-c"],"Cmd":["id; pwd; echo $A $B $C $HOME"]})");
  EXPECT_EQ(store.run({.image = "app", .environment = {"B=x", "C=y"}, .remove = true}).out,
            "uid=1000(app) gid=1000(app) groups=1000(app)\n/srv/new\n1 x y /home/app\n");
  EXPECT_EQ(
      store.run({.image = "app", .command = {"id -u; pwd"}, .user = "0", .directory = "/tmp", .remove = true})
          .out,
      "0\n/tmp\n");
  EXPECT_EQ(store.run({.image = "app", .command = {"-u"}, .entrypoint = "id", .remove = true}).out, "1000\n");
  Output unknown = store.run({.image = "app", .user = "nobody"});
  EXPECT_EQ(unknown.code, 125);
  EXPECT_NE(unknown.err.find("unable to find user nobody"), std::string::npos) << unknown.err;
  EXPECT_TRUE(path_exists(store.store().containers_directory()));
}

TEST_F(Containers, WhatCannotBeRunIs127Or126AndLeavesNothing) {
  Output missing = store.run({.command = {"nosuch"}});
  EXPECT_EQ(missing.code, 127);
  EXPECT_EQ(
      missing.err,
      "ERROR: unable to start container process: exec: \"nosuch\": executable file not found in $PATH\n");
  EXPECT_EQ(store.run({.command = {"/etc/passwd"}}).code, 126);
  EXPECT_EQ(store.run({.command = {"nosuch"}, .detach = true}).code, 127);
  Output image = store.run({.image = "bux"});
  EXPECT_EQ(image.code, 125);
  EXPECT_NE(image.err.find("Unable to find image \"bux\" locally (did you mean box?)"), std::string::npos)
      << image.err;
  // The rubbish of a creation that was killed goes with the next one.
  make_directories_on_host(store.store().containers_directory() + "/0123");
  EXPECT_EQ(store.run({.command = {"true"}, .remove = true}).code, 0);
  EXPECT_FALSE(path_exists(store.store().containers_directory() + "/0123"));
}

TEST_F(Containers, ADetachedOneIsListedLoggedAndStopped) {
  std::string id = store.start(
      "one", "echo hello; echo oops >&2; trap 'echo bye; exit 3' TERM; while :; do sleep 0.1; done");
  EXPECT_EQ(id.size(), 64u);
  ASSERT_TRUE(soon([&] { return logs("one") == "hello\noops\n"; })) << logs("one");
  EXPECT_EQ(ps("{{.Names}} {{.State}} {{.Image}}"), "one running box\n");
  EXPECT_TRUE(ps("").starts_with("CONTAINER ID   IMAGE   COMMAND")) << ps("");
  EXPECT_NE(ps("").find("Up "), std::string::npos);
  EXPECT_EQ(Json::parse(trim(ps("json"))).get_string("ID"), id.substr(0, 12));
  EXPECT_THROW(rm("one", false), Error);
  EXPECT_EQ(stop({.containers = {id.substr(0, 6)}}).out, id.substr(0, 6) + "\n");
  EXPECT_EQ(store.find("one").status(), Status::kExited);
  EXPECT_EQ(store.find("one").exit()->code, 3);
  EXPECT_EQ(logs("one"), "hello\noops\nbye\n");
  EXPECT_EQ(logs("one", {.tail = "1"}), "bye\n");
  EXPECT_EQ(ps("{{.Names}}", false), "");
  EXPECT_TRUE(ps("{{.Status}}").starts_with("Exited (3) ")) << ps("{{.Status}}");
  EXPECT_EQ(rm("one", false).out, "one\n");
  EXPECT_TRUE(Container::list(store.store()).empty());
  EXPECT_FALSE(path_exists(store.store().containers_directory() + "/" + id));
}

TEST_F(Containers, OneThatDoesNotListenIsKilledWhenTimeIsUp) {
  store.start("deaf", "trap '' TERM; while :; do sleep 0.1; done");
  stop({.containers = {"deaf"}, .timeout_s = 0});
  EXPECT_EQ(store.find("deaf").exit()->code, 137);
  Output waited =
      store.call([&](Context& context) { return wait_command({.containers = {"deaf"}}, context); });
  EXPECT_EQ(waited.out, "137\n");
}

TEST_F(Containers, NamesAreUnique) {
  store.start("one", "sleep 1000");
  Output second = store.run({.command = {"true"}, .name = "one"});
  EXPECT_EQ(second.code, 125);
  EXPECT_NE(second.err.find("Conflict. The container name \"/one\" is already in use by container"),
            std::string::npos)
      << second.err;
  EXPECT_EQ(store.run({.command = {"true"}, .name = "-bad"}).code, 125);
  try {
    store.find("onr");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "No such container: onr (did you mean one?)");
  }
  EXPECT_EQ(rm("nosuch").code, 0);
  EXPECT_THROW(rm("nosuch", false), Error);
}

TEST_F(Containers, AKilledMonitorIsUnknownAndTakesTheContainerWithIt) {
  for (const char* user : {"0", "app"}) {
    store.start("lost", "sleep 1000", {.user = user, .health_command = "true", .health_interval = "20ms"});
    ASSERT_TRUE(soon([&] { return health("lost") == HealthStatus::kHealthy; }));
    EXPECT_NE(ps("{{.Status}}").find("(healthy)"), std::string::npos);
    auto state = store.find("lost").state();
    UniqueFd init = state->init.open(), monitor = state->monitor.open();
    ASSERT_TRUE(init && monitor);
    ASSERT_EQ(syscall(SYS_pidfd_send_signal, monitor.get(), SIGKILL, nullptr, 0), 0);
    EXPECT_TRUE(soon([&] { return store.find("lost").status() == Status::kUnknown; }));
    EXPECT_TRUE(soon([&] { return !state->init.open(); }))
        << "the container outlived its monitor as user " << user;
    EXPECT_EQ(health("lost"), HealthStatus::kNone);
    EXPECT_EQ(ps("{{.Status}}", false), "Unknown (its monitor is gone)\n");
    EXPECT_EQ(rm("lost").out, "lost\n");
    EXPECT_TRUE(Container::list(store.store()).empty());
  }
}

TEST_F(Containers, AfterARestartOfTheMachineItHasExited) {
  store.start("old", "sleep 1000");
  Container container = store.find("old");
  State state = *container.state();
  state.boot = "another";
  stop({.containers = {"old"}, .timeout_s = 0});
  container.write_state(state);
  ASSERT_EQ(truncate((container.directory() / "exit").c_str(), 0), 0);
  EXPECT_EQ(container.status(), Status::kExited);
  EXPECT_EQ(ps("{{.Status}}"), "Exited (255), the machine was restarted\n");
}

TEST_F(Containers, HealthComesAndGoes) {
  store.start(
      "sick", "touch /tmp/ok; sleep 1000",
      {.health_command = "echo looking; test -e /tmp/ok", .health_interval = "30ms", .health_retries = 2});
  EXPECT_TRUE(soon([&] { return health("sick") == HealthStatus::kHealthy; }));
  EXPECT_EQ(store
                .call([&](Context& context) {
                  return wait_command({.containers = {"sick"}, .condition = "healthy", .timeout_s = 5},
                                      context);
                })
                .out,
            "sick\n");
  EXPECT_EQ(store.exec({.container = "sick", .command = {"rm", "/tmp/ok"}}).code, 0);
  EXPECT_TRUE(soon([&] { return health("sick") == HealthStatus::kUnhealthy; }));
  EXPECT_NE(ps("{{.Status}}").find("(unhealthy)"), std::string::npos);
  Health told = store.find("sick").health();
  EXPECT_EQ(told.log.back().output, "looking\n");
  EXPECT_EQ(told.log.back().exit_code, 1);
  EXPECT_LE(told.log.size(), 5u);
  Output waited = store.call([&](Context& context) {
    return wait_command({.containers = {"sick"}, .condition = "healthy", .timeout_s = 5}, context);
  });
  EXPECT_EQ(waited.code, 1);
  EXPECT_NE(waited.err.find("container sick is unhealthy"), std::string::npos) << waited.err;
  EXPECT_NE(waited.err.find("exit code 1: looking"), std::string::npos) << waited.err;
}

TEST_F(Containers, AProbeThatTakesTooLongFails) {
  store.start("slow", "sleep 1000",
              {.health_command = "echo begun; sleep 1000",
               .health_interval = "20ms",
               .health_timeout = "200ms",
               .health_retries = 1});
  EXPECT_TRUE(soon([&] { return health("slow") == HealthStatus::kUnhealthy; }));
  EXPECT_EQ(store.find("slow").health().log.back().output, "Health check exceeded timeout (200ms): begun\n");
  EXPECT_EQ(store.find("slow").health().log.back().exit_code, -1);
}

TEST_F(Containers, APublishedPortIsForwarded) {
  uint16_t port = free_port();
  RunOptions options{.ports = {fmt::format("127.0.0.1:{}:8000", port)}};
  store.start("web", "echo served > /tmp/page; echo 127.0.0.1; exec httpd -f -p 8000 -h /tmp", options);
  EXPECT_TRUE(soon([&] { return fetch(port, "/page").ends_with("\r\n\r\nserved\n"); }))
      << fetch(port, "/page");
  EXPECT_EQ(ps("{{.Ports}}"), fmt::format("127.0.0.1:{}->8000/tcp\n", port));
  EXPECT_EQ(
      store.exec({.container = "web", .command = {"wget", "-q", "-O", "-", "http://127.0.0.1:8000/page"}})
          .out,
      "served\n");
  EXPECT_EQ(store.call([&](Context& context) { return port_command("web", "8000", context); }).out,
            fmt::format("127.0.0.1:{}\n", port));
  Json inspected = inspect_container(store.find("web"), store.store());
  EXPECT_EQ(inspected.find("NetworkSettings")
                ->find("Ports")
                ->find("8000/tcp")
                ->as_array()[0]
                .get_string("HostPort"),
            std::to_string(port));
  EXPECT_EQ(inspected.find("HostConfig")->get_string("NetworkMode"), "bridge");

  Output taken =
      store.run({.command = {"true"}, .name = "second", .ports = {fmt::format("127.0.0.1:{}:80", port)}});
  EXPECT_EQ(taken.code, 125);
  EXPECT_NE(taken.err.find(fmt::format("port 127.0.0.1:{}: already in use by container web", port)),
            std::string::npos)
      << taken.err;
  rm("web");
  EXPECT_EQ(fetch(port, "/page"), "");
}

TEST_F(Containers, AContainersNetworkOfItsOwn) {
  EXPECT_EQ(store.run({.command = {"ls", "/sys/class/net"}, .network = "none", .remove = true}).out, "lo\n");
  store.start("host", "sleep 1000", {.network = "host"});
  EXPECT_EQ(
      inspect_container(store.find("host"), store.store()).find("HostConfig")->get_string("NetworkMode"),
      "host");
  Output both = store.run({.command = {"true"}, .network = "none", .ports = {"80"}});
  EXPECT_EQ(both.code, 125);
}

TEST_F(Containers, Volumes) {
  std::string host = store / "host";
  make_directories_on_host(host);
  Output output = store.run({.command = {"sh", "-c",
                                         "echo x > /mnt/new; echo y > /data/made; cat /data/sub/seed; stat "
                                         "-c %u /data/sub/seed; echo z > /ro/no"},
                             .volumes = {host + ":/mnt", "keep:/data", host + ":/ro:ro"},
                             .remove = true});
  EXPECT_EQ(output.out, "from the image\n1000\n");
  EXPECT_NE(output.err.find("Read-only file system"), std::string::npos) << output.err;
  EXPECT_EQ(read_file(host + "/new"), "x\n");
  EXPECT_EQ(store.run({.command = {"cat", "/data/made"}, .volumes = {"keep:/data"}, .remove = true}).out,
            "y\n");
  store.save_image("vol", R"({"Env":["PATH=/bin"],"Volumes":{"/data/sub":{}}})");
  store.start("anonymous", "cat /data/sub/seed; grep -c ' /data/sub ' /proc/mounts; sleep 1000",
              {.image = "vol"});
  EXPECT_TRUE(soon([&] { return logs("anonymous") == "from the image\n1\n"; })) << logs("anonymous");
  EXPECT_EQ(store
                .run({.command = {"sh", "-c", "touch /x; touch /tmp/y && echo ok"},
                      .tmpfs = {"/tmp"},
                      .remove = true,
                      .read_only = true})
                .out,
            "ok\n");
}

TEST_F(Containers, ExecJoinsTheContainer) {
  store.start("one", "hostname > /tmp/name; sleep 1000",
              {.environment = {"A=1"}, .user = "app", .hostname = "inside"});
  ASSERT_TRUE(soon([&] {
    return store.exec({.container = "one", .command = {"cat", "/tmp/name"}}).out == "inside\n";
  }));
  EXPECT_EQ(store
                .exec({.container = "one",
                       .command = {"sh", "-c", "id -u; echo $A $B; pwd; exit 5"},
                       .environment = {"B=2"},
                       .directory = "/tmp"})
                .out,
            "1000\n1 2\n/tmp\n");
  EXPECT_EQ(store.exec({.container = "one", .command = {"sh", "-c", "exit 5"}}).code, 5);
  EXPECT_EQ(store.exec({.container = "one", .command = {"id", "-u"}, .user = "root"}).out, "0\n");
  EXPECT_EQ(store.exec({.container = "one", .command = {"nosuch"}}).code, 127);
  stop({.containers = {"one"}, .timeout_s = 0});
  Output late = store.exec({.container = "one", .command = {"true"}});
  EXPECT_EQ(late.code, 125);
  EXPECT_NE(late.err.find("container one is not running (exited)"), std::string::npos) << late.err;
}

TEST_F(Containers, RemoveLeavesNothing) {
  std::string id = store.start(
      "busy", "mkdir /x; touch /x/y; chown 1000:1000 /x/y; chmod 0 /x; echo ready; sleep 1000 & sleep 1000");
  ASSERT_TRUE(soon([&] { return logs("busy") == "ready\n"; }));
  auto state = store.find("busy").state();
  rm("busy");
  EXPECT_FALSE(state->init.open());
  EXPECT_TRUE(soon([&] { return !state->monitor.open(); }));
  EXPECT_FALSE(path_exists(store.store().containers_directory() + "/" + id));
  EXPECT_EQ(read_file("/proc/self/mounts").find(id), std::string::npos);
}

TEST_F(Containers, ARemovingOneIsGoneWhenItEnded) {
  std::string id = store.start("brief", "sleep 0.2; exit 4", {.remove = true});
  Output waited =
      store.call([&](Context& context) { return wait_command({.containers = {"brief"}}, context); });
  EXPECT_EQ(waited.out, "4\n");
  EXPECT_TRUE(soon([&] { return !path_exists(store.store().containers_directory() + "/" + id); }));
}

TEST_F(Containers, TheMonitorDoesNotHoldTheStore) {
  store.start("long", "sleep 1000");
  FileLock lock;
  store.store().release();
  EXPECT_TRUE(FileLock::try_exclusive(store.store().path() + "/lock", lock));
  EXPECT_EQ(images_in_use(store.store()).size(), 1u);
}

TEST_F(Containers, KillSendsSignals) {
  store.start("one", "trap 'echo usr; exit 9' USR1; echo ready; while :; do sleep 0.05; done");
  ASSERT_TRUE(soon([&] { return logs("one") == "ready\n"; }));
  store.call(
      [&](Context& context) { return kill_command({.containers = {"one"}, .signal = "SIGUSR1"}, context); });
  EXPECT_TRUE(soon([&] { return store.find("one").status() == Status::kExited; }));
  EXPECT_EQ(store.find("one").exit()->code, 9);
  EXPECT_THROW(store.call([&](Context& context) { return kill_command({.containers = {"one"}}, context); }),
               Error);
}

}  // namespace corten::container
