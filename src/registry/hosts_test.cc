#include "registry/hosts.h"

#include <gtest/gtest.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "http/server_test.h"
#include "registry/docker_settings.h"
#include "registry/registries_conf.h"

namespace corten::registry {
namespace {

// A machine with these files.
class Machine {
 public:
  void put(const std::string& name, const std::string& text) {
    make_directories_on_host(directory_ / name.substr(0, name.rfind('/')));
    write_file_atomic(directory_ / name, text);
  }
  std::string path(const std::string& name) const { return directory_ / name; }
  Hosts hosts() const { return Hosts::from_directories(directory_ / "etc", directory_ / "user"); }
  // "scheme://authority/prefix repository", with what is special behind it.
  std::vector<std::string> ways(const std::string& reference, bool for_push = false) const {
    std::vector<std::string> all;
    for (const Endpoint& e : hosts().endpoints(oci::Reference::parse(reference), for_push)) {
      std::string text = e.base() + " " + e.repository;
      if (e.is_mirror) text += " mirror";
      if (e.is_mirror == e.can_push) text += " CONFUSED";
      if (e.may_be_either_scheme) text += " either";
      if (!e.tls.is_verified) text += " unverified";
      if (e.adds_namespace) text += " ns";
      all.push_back(text);
    }
    return all;
  }
  std::string error(const std::string& reference = "busybox") const {
    std::string words;
    http::code_of([&] { ways(reference); }, &words);
    return words;
  }

 private:
  TempDir directory_ = TempDir::for_test();
};

using Ways = std::vector<std::string>;

TEST(Hosts, WithoutAnyFile) {
  Machine machine;
  EXPECT_EQ(machine.ways("ubuntu"), Ways({"https://registry-1.docker.io/v2 library/ubuntu"}));
  EXPECT_EQ(machine.ways("ghcr.io/a/b"), Ways({"https://ghcr.io/v2 a/b"}));
  EXPECT_EQ(machine.ways("localhost:5000/a"), Ways({"http://localhost:5000/v2 a either unverified"}));
  EXPECT_EQ(machine.ways("127.1.2.3:80/a"), Ways({"http://127.1.2.3:80/v2 a either unverified"}));
  EXPECT_EQ(machine.ways("[::1]:5000/a"), Ways({"http://[::1]:5000/v2 a either unverified"}));
  EXPECT_EQ(machine.ways("10.0.0.1:5000/a"), Ways({"https://10.0.0.1:5000/v2 a"}));
  EXPECT_FALSE(is_loopback("localhost.example.com"));
  EXPECT_FALSE(is_loopback("127.example.com:80"));
  EXPECT_EQ(machine.hosts().origin("myhost").base(), "https://myhost/v2");
}

TEST(Hosts, MirrorsOfRegistriesConf) {
  Machine machine;
  machine.put("etc/containers/registries.conf", R"(
unqualified-search-registries = ["example.com"]
[aliases]
ubuntu = "example.com/not-this"
[[registry]]
prefix = "docker.io/library"
location = "docker.io/library"
[[registry.mirror]]
location = "mirror.test:5000/hub"
insecure = true
[[registry.mirror]]
location = "127.0.0.1:7000"
[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "never.test"
[[registry]]
prefix = "example.com/team"
location = "internal.test/bar"
)");
  EXPECT_EQ(machine.ways("ubuntu"), Ways({"https://mirror.test:5000/v2 hub/ubuntu mirror either unverified",
                                          "http://127.0.0.1:7000/v2 ubuntu mirror either unverified",
                                          "https://registry-1.docker.io/v2 library/ubuntu"}));
  EXPECT_EQ(machine.ways("ubuntu", true), Ways({"https://registry-1.docker.io/v2 library/ubuntu"}));
  EXPECT_EQ(machine.ways("example.com/team/app"), Ways({"https://internal.test/v2 bar/app"}));
  EXPECT_EQ(machine.ways("example.com/team/app", true), Ways({"https://example.com/v2 team/app"}));
  EXPECT_EQ(machine.ways("example.com/teamwork/app"), Ways({"https://example.com/v2 teamwork/app"}));
}

TEST(Hosts, MirrorsForDigestsOrTags) {
  Machine machine;
  machine.put("etc/containers/registries.conf", R"(
[[registry]]
location = "a.test"
mirror-by-digest-only = true
[[registry.mirror]]
location = "m.test"
[[registry]]
location = "b.test"
[[registry.mirror]]
location = "tags.test"
pull-from-mirror = "tag-only"
[[registry.mirror]]
location = "digests.test"
pull-from-mirror = "digest-only"
)");
  const std::string digest = "@sha256:" + std::string(64, 'a');
  EXPECT_EQ(machine.ways("a.test/x").size(), 1u);
  EXPECT_EQ(machine.ways("a.test/x" + digest).size(), 2u);
  EXPECT_EQ(machine.ways("b.test/x").at(0), "https://tags.test/v2 x mirror");
  EXPECT_EQ(machine.ways("b.test/x:1" + digest).at(0), "https://digests.test/v2 x mirror");
}

TEST(Hosts, DropInsReplaceAndTheUsersFileGoesFirst) {
  Machine machine;
  machine.put("etc/containers/registries.conf", "[[registry]]\nlocation = \"a.test\"\ninsecure = true\n");
  machine.put("etc/containers/registries.conf.d/10.conf",
              "[[registry]]\nlocation = \"a.test\"\n[[registry]]\nprefix = \"*.b.test\"\nblocked = true\n");
  machine.put("etc/containers/registries.conf.d/readme", "not read = [");
  EXPECT_EQ(machine.ways("a.test/x"), Ways({"https://a.test/v2 x"}));
  EXPECT_NE(machine.error("sub.b.test/x").find("is blocked by registry \"*.b.test\""), std::string::npos);
  EXPECT_EQ(machine.ways("b.test/x").size(), 1u);
  machine.put("user/containers/registries.conf", "[[registry]]\nlocation = \"c.test\"\ninsecure = true\n");
  EXPECT_EQ(machine.ways("c.test/x"), Ways({"https://c.test/v2 x either unverified"}));
  machine.put(
      "user/containers/registries.conf",
      "[registries.insecure]\nregistries = ['d.test']\n[registries.block]\nregistries = ['e.test']\n");
  EXPECT_EQ(machine.ways("d.test/x"), Ways({"https://d.test/v2 x either unverified"}));
  EXPECT_NE(machine.error("e.test/x").find("is blocked"), std::string::npos);
}

TEST(Hosts, ContainerdsHostsToml) {
  Machine machine;
  machine.put("etc/containerd/certs.d/docker.io/hosts.toml", R"(
server = "https://registry-1.docker.io"
[host."https://z-first.test"]
  capabilities = ["pull", "resolve"]
  ca = "own.crt"
  client = [["/c.cert", "/c.key"]]
  [host."https://z-first.test".header]
    x-team = ["a", "b"]
[host."http://a-second.test:5000/path"]
  capabilities = ["pull"]
  skip_verify = true
[host."https://third.test/odd/path/"]
  override_path = true
)");
  EXPECT_EQ(machine.ways("ubuntu"), Ways({"https://z-first.test/v2 library/ubuntu mirror ns",
                                          "https://third.test/odd/path library/ubuntu mirror ns",
                                          "https://registry-1.docker.io/v2 library/ubuntu"}));
  const std::string by_digest = "ubuntu@sha256:" + std::string(64, 'a');
  EXPECT_EQ(machine.ways(by_digest).at(1),
            "http://a-second.test:5000/path/v2 library/ubuntu mirror unverified ns");
  EXPECT_EQ(machine.ways("ubuntu", true), Ways({"https://registry-1.docker.io/v2 library/ubuntu"}));
  const Endpoint first = machine.hosts().endpoints(oci::Reference::parse("ubuntu"), false).at(0);
  EXPECT_EQ(first.tls.more_authorities,
            std::vector<std::string>({machine.path("etc/containerd/certs.d/docker.io/own.crt")}));
  EXPECT_EQ(first.tls.certificate, "/c.cert");
  EXPECT_EQ(first.tls.key, "/c.key");
  EXPECT_EQ(first.fields, http::Fields({{"x-team", "a"}, {"x-team", "b"}}));
}

TEST(Hosts, HostsTomlByPortAndForAll) {
  Machine machine;
  machine.put("etc/containerd/certs.d/_default/hosts.toml", "[host.\"https://all.test\"]\n");
  machine.put("etc/containerd/certs.d/reg.test_5000_/hosts.toml", "server = \"http://inner.test:81\"\n");
  EXPECT_EQ(machine.ways("reg.test:5000/a"), Ways({"http://inner.test:81/v2 a"}));
  EXPECT_EQ(machine.ways("reg.test/a"), Ways({"https://all.test/v2 a mirror ns", "https://reg.test/v2 a"}));
}

TEST(Hosts, DockersDaemonJson) {
  Machine machine;
  machine.put("etc/docker/daemon.json", R"({
    "registry-mirrors": ["https://hub.test/", "http://127.0.0.1:5001"],
    "insecure-registries": ["plain.test:5000"], "log-level": "debug"})");
  EXPECT_EQ(machine.ways("ubuntu"), Ways({"https://hub.test/v2 library/ubuntu mirror",
                                          "http://127.0.0.1:5001/v2 library/ubuntu mirror unverified",
                                          "https://registry-1.docker.io/v2 library/ubuntu"}));
  EXPECT_EQ(machine.ways("quay.io/a/b").size(), 1u);
  EXPECT_EQ(machine.ways("plain.test:5000/a"), Ways({"https://plain.test:5000/v2 a either unverified"}));
  machine.put("etc/docker/daemon.json", R"({"insecure-registries": ["10.1.0.0/16", "fd00::/8"]})");
  EXPECT_EQ(machine.ways("10.1.2.3:5000/a"), Ways({"https://10.1.2.3:5000/v2 a either unverified"}));
  EXPECT_EQ(machine.ways("10.2.2.3:5000/a"), Ways({"https://10.2.2.3:5000/v2 a"}));
}

TEST(Hosts, Networks) {
  EXPECT_TRUE(http::is_in_network("10.1.2.3", "10.0.0.0/8"));
  EXPECT_TRUE(http::is_in_network("10.1.2.3", "10.1.2.2/31"));
  EXPECT_FALSE(http::is_in_network("10.1.2.3", "10.1.2.0/31"));
  EXPECT_TRUE(http::is_in_network("10.1.2.3", "0.0.0.0/0"));
  EXPECT_TRUE(http::is_in_network("fd12::1", "fd00::/8"));
  EXPECT_FALSE(http::is_in_network("fe80::1", "fd00::/8"));
  EXPECT_FALSE(http::is_in_network("10.1.2.3", "::/0"));
  for (const char* odd : {"10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "x/8", "10.0.0.0/", "/8"})
    EXPECT_FALSE(http::is_in_network("10.1.2.3", odd)) << odd;
}

TEST(Hosts, Certificates) {
  Machine machine;
  machine.put("etc/docker/certs.d/reg.test:5000/own.crt", "x");
  machine.put("user/containers/certs.d/reg.test:5000/me.cert", "x");
  machine.put("user/containers/certs.d/reg.test:5000/me.key", "x");
  const Endpoint endpoint = machine.hosts().origin("reg.test:5000");
  EXPECT_EQ(endpoint.tls.more_authorities,
            std::vector<std::string>({machine.path("etc/docker/certs.d/reg.test:5000/own.crt")}));
  EXPECT_EQ(endpoint.tls.certificate, machine.path("user/containers/certs.d/reg.test:5000/me.cert"));
  EXPECT_EQ(endpoint.tls.key, machine.path("user/containers/certs.d/reg.test:5000/me.key"));
  machine.put("etc/docker/certs.d/localhost:5000/own.crt", "x");
  EXPECT_EQ(machine.ways("localhost:5000/a"), Ways({"https://localhost:5000/v2 a"}));
  machine.put("etc/docker/certs.d/half.test/me.cert", "x");
  EXPECT_NE(machine.error("half.test/a").find("its key me.key is missing"), std::string::npos);
}

// In strings and comments, also at the begin of a line that goes on with a string.
TEST(Hosts, AnyCharacterMayBeInAString) {
  Machine machine;
  machine.put("etc/containers/registries.conf",
              "\ufeff# \u0499\n[[registry]]\nprefix = 'a.test'\nlocation = \"\"\"\\\n   \u0499.test\"\"\"\n");
  EXPECT_EQ(machine.ways("a.test/b"), Ways({"https://\u0499.test/v2 b"}));
}

TEST(Hosts, MalformedFilesAreNamedWithTheirLine) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"[[registry]]\nlocation = \"a\nb\"\n", "registries.conf:2: this is no TOML"},
      {"[[registry]]\n\nlocation = 5\n", "registries.conf:3: a string is expected"},
      {"\n[[registry]]\ninsecure = true\n",
       "registries.conf:2: this registry has neither prefix nor location"},
      {"[[registry]]\nlocation = \"http://a.test\"\n",
       "registries.conf:2: location \"http://a.test\" must not"},
      {"[[registry]]\nlocation = "
       "\"a.test\"\n[[registry.mirror]]\nlocation=\"b\"\npull-from-mirror=\"some\"\n",
       "registries.conf:5: pull-from-mirror is \"some\""},
      {"[=]\n", "registries.conf:1: this is no TOML"},
      {"\n[[registry\u0499irror]]\n", "registries.conf:2: this is no TOML"},
      {"\ufeef", "registries.conf:1: this is no TOML"},
      {"\u00a0a = 1\n", "registries.conf:1: this is no TOML"},
      {"registry = 1\n", "registries.conf:1: an array is expected"},
  };
  for (const auto& [text, words] : cases) {
    Machine machine;
    machine.put("etc/containers/registries.conf", text);
    EXPECT_NE(machine.error().find(words), std::string::npos) << machine.error();
  }
  Machine machine;
  machine.put("etc/containerd/certs.d/docker.io/hosts.toml",
              "[host.\"https://a\"]\ncapabilities = [\"fly\"]\n");
  EXPECT_NE(machine.error().find("docker.io/hosts.toml:2: unknown capability \"fly\""), std::string::npos);
  Machine other;
  other.put("etc/docker/daemon.json", "{\"registry-mirrors\": 5}");
  EXPECT_NE(other.error().find("docker/daemon.json: "), std::string::npos) << other.error();
}

}  // namespace
}  // namespace corten::registry
