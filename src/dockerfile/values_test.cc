#include "dockerfile/values.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "dockerfile/expand.h"
#include "dockerfile/mount.h"

namespace corten::dockerfile {
namespace {

template <typename F>
std::string error_of(F run) {
  try {
    run();
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(PortSpec, Forms) {
  auto keys = [](std::string_view text) { return parse_port_spec(text).config_keys(); };
  EXPECT_EQ(keys("80"), std::vector<std::string>{"80/tcp"});
  EXPECT_EQ(keys("0"), std::vector<std::string>{"0/tcp"});
  EXPECT_EQ(keys("80-82/UDP"), (std::vector<std::string>{"80/udp", "81/udp", "82/udp"}));
  EXPECT_EQ(keys("127.0.0.1:8080:80/sctp"), std::vector<std::string>{"80/sctp"});
  EXPECT_TRUE(parse_port_spec("8080:80").has_host_part);
  EXPECT_EQ(parse_port_spec("80/TCP").protocol_as_written, "TCP");
  EXPECT_EQ(keys("65535-65535").size(), 1u);
  EXPECT_EQ(error_of([&] { keys("/tcp"); }), "invalid port: \"/tcp\": no port specified");
  EXPECT_EQ(error_of([&] { keys("80/foo"); }), "invalid proto: foo");
  EXPECT_EQ(error_of([&] { keys("90-80"); }), "invalid containerPort: 90-80");
  EXPECT_EQ(error_of([&] { keys("65536"); }), "invalid containerPort: 65536");
  EXPECT_EQ(error_of([&] { keys("+1"); }), "invalid containerPort: +1");
}

TEST(ModeChange, Octal) {
  EXPECT_EQ(ModeChange::parse("0755").apply(0644, false), 0755u);
  EXPECT_EQ(ModeChange::parse("4711").octal(), 04711u);
  EXPECT_TRUE(ModeChange::parse("").is_none());
  EXPECT_EQ(ModeChange::parse("").apply(0640, true), 0640u);
  for (const char* bad : {"64a", "10000", "0x1"})
    EXPECT_EQ(error_of([&] { ModeChange::parse(bad); }),
              std::string("invalid chmod parameter: '") + bad +
                  "'. it should be octal string and between 0 and 07777");
}

TEST(ModeChange, SymbolicAsChmodDoesIt) {
  struct Case {
    const char* text;
    uint32_t mode;
    bool is_directory;
    uint32_t expected;
  };
  for (const Case& c : std::initializer_list<Case>{{"go-w", 0666, false, 0644},
                                                   {"a+X", 0644, false, 0644},
                                                   {"a+X", 0744, false, 0755},
                                                   {"a+X", 0644, true, 0755},
                                                   {"u=rw,g=r,o=r", 0777, false, 0644},
                                                   {"u=rwX,go=rX", 0600, true, 0755},
                                                   {"g=u", 0640, false, 0660},
                                                   {"+x", 0644, false, 0755},
                                                   {"u+s", 0755, false, 04755},
                                                   {"g+s", 0755, true, 02755},
                                                   {"+t", 0755, true, 01755},
                                                   {"o=", 0777, false, 0770},
                                                   {"u=g-x", 0754, false, 0454},
                                                   {"g=rx", 02755, true, 02755},
                                                   {"g=rx", 02755, false, 0755},
                                                   {"o=u-w", 0700, false, 0705},
                                                   {"a=", 0777, false, 0},
                                                   {"ug=rw,o-r", 0444, false, 0660}})
    EXPECT_EQ(ModeChange::parse(c.text).apply(c.mode, c.is_directory), c.expected) << c.text;
  for (const char* bad : {"u+q", "-1", "u", "rwx", "u+x,", ",", "u+x g-w"})
    EXPECT_EQ(error_of([&] { ModeChange::parse(bad); }), "invalid syntax") << bad;
}

TEST(OwnerSpec, Splits) {
  OwnerSpec owner = parse_owner("app");
  EXPECT_EQ(owner.user, "app");
  EXPECT_FALSE(owner.group || owner.uid || owner.gid);
  owner = parse_owner("33:staff");
  EXPECT_EQ(owner.uid, 33u);
  EXPECT_EQ(owner.group, "staff");
  EXPECT_FALSE(owner.gid);
  EXPECT_EQ(parse_owner("root:root").gid, 0u);
  EXPECT_EQ(parse_owner(":7").uid, 0u);
  EXPECT_EQ(parse_owner(":7").gid, 7u);
  EXPECT_EQ(parse_owner("1:2:3").group, "2:3");
  EXPECT_FALSE(parse_owner("4294967296").uid);
}

TEST(Duration, AsGo) {
  EXPECT_EQ(parse_duration_ns("1h2m3.5s"), 3723'500'000'000);
  EXPECT_EQ(parse_duration_ns("0"), 0);
  EXPECT_EQ(parse_duration_ns("-1.5ms"), -1'500'000);
  EXPECT_EQ(parse_duration_ns("100us"), 100'000);
  EXPECT_EQ(parse_duration_ns("100µs"), 100'000);
  EXPECT_EQ(error_of([] { parse_duration_ns("5"); }), "time: missing unit in duration \"5\"");
  EXPECT_EQ(error_of([] { parse_duration_ns("5x"); }), "time: unknown unit \"x\" in duration \"5x\"");
  for (const char* bad : {"", "x", ".s", "1..2s", "99999999999999h", "1e3s"})
    EXPECT_NE(error_of([&] { parse_duration_ns(bad); }), "accepted") << bad;
  for (const char* text : {"0s", "1m30s", "1h0m0s", "1.5s", "100ms", "2µs", "3ns", "-1s"})
    EXPECT_EQ(format_duration(parse_duration_ns(text)), text);
}

TEST(StopSignal, NamesAndNumbers) {
  for (const char* good : {"SIGKILL", "kill", "sigusr1", "-9", "100", "9", "RTMIN+3", "SIGRTMAX-14", "RTMAX"})
    EXPECT_NO_THROW(check_stop_signal(good)) << good;
  for (const char* bad : {"", "0", "SIGFOO", "RTMIN+16", "SIG", "9x"})
    EXPECT_EQ(error_of([&] { check_stop_signal(bad); }), std::string("invalid signal: ") + bad);
  EXPECT_EQ(stop_signal_number("SIGQUIT"), 3);
  EXPECT_EQ(stop_signal_number(""), 15);
  EXPECT_EQ(stop_signal_number("rtmin+1"), 35);
}

Mount mount_of(std::string csv) {
  MapEnvironment environment(MapEnvironment::Values{{"T", "cache"}, {"P", "/p"}, {"ID", "k"}});
  return parse_mount({std::move(csv), {}},
                     [&](std::string_view text) { return process_word(text, environment); });
}

TEST(Mount, ReadsAllKeys) {
  Mount mount =
      mount_of("type=$T,target=$P,id=$ID,sharing=locked,uid=1001,gid=1002,mode=0751,from=x,source=s,ro");
  EXPECT_EQ(mount.type, MountType::kCache);
  EXPECT_EQ(mount.target, "/p");
  EXPECT_EQ(mount.id, "k");
  EXPECT_EQ(mount.sharing, CacheSharing::kLocked);
  EXPECT_EQ(mount.uid, 1001u);
  EXPECT_EQ(mount.mode, 0751u);
  EXPECT_EQ(mount.from, "x");
  EXPECT_TRUE(mount.read_only);
  EXPECT_TRUE(mount_of("target=/x").read_only);
  EXPECT_FALSE(mount_of("target=/x,rw").read_only);
  EXPECT_FALSE(mount_of("type=cache,target=/x").read_only);
  EXPECT_FALSE(mount_of("TYPE=tmpfs,dst=/x").read_only);
  EXPECT_EQ(mount_of("type=tmpfs,dst=/x,size=128m").size_bytes, 128u << 20);
  mount = mount_of("type=secret,id=a,required,env=E");
  EXPECT_TRUE(mount.required);
  EXPECT_EQ(mount.env, "E");
  EXPECT_EQ(mount_of("type=bind,\"target=/a,b\"").target, "/a,b");
}

TEST(Mount, ErrorTexts) {
  struct Case {
    const char* csv;
    const char* error;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"type=tmp", "unsupported mount type \"tmp\""},
           {"typ=tmpfs", "unexpected key 'typ' in 'typ=tmpfs' (did you mean type?)"},
           {"type=cache,sharing=x", "unsupported sharing value \"x\""},
           {"uid=-1,type=cache", "invalid value -1 for uid"},
           {"mode=9,type=cache", "invalid value 9 for mode"},
           {"mode=755", "mode not allowed for \"bind\" type mounts"},
           {"sharing=locked", "invalid cache sharing set for bind mount"},
           {"type=secret", "invalid secret mount. one of source, target required"},
           {"type=secret,id=a,source=b", "both source and id can't be set"},
           {"type=secret,id=a,from=b", "secret mount should not have a from"},
           {"type=ssh,source=b", "ssh does not support source"},
           {"required", "unexpected key 'required' for mount type 'bind'"},
           {"required,type=secret", "unexpected key 'required' for mount type 'bind'"},
           {"size=1", "unexpected key 'size' for mount type 'bind'"},
           {"foo", "invalid field 'foo' must be a key=value pair"},
           {"ro=maybe", "invalid value for ro: maybe"},
           {"target=${}", "failed to process \"${}\": syntax error: bad substitution"}}) {
    std::string error = error_of([&] { mount_of(c.csv); });
    EXPECT_EQ(error.substr(0, strlen(c.error)), c.error) << c.csv;
  }
  EXPECT_EQ(error_of([] {
              check_mount_syntax({"type=cache,from=${x}", {}});
            }),
            "'from' doesn't support variable expansion, define alias stage instead");
  EXPECT_EQ(error_of([] { check_mount_syntax({"from=$", {}}); }), "accepted");
}

TEST(Device, Forms) {
  EXPECT_EQ(parse_device({"vendor.com/class=dev,required=false", {}}).name, "vendor.com/class=dev");
  EXPECT_FALSE(parse_device({"vendor.com/class=dev,required=false", {}}).required);
  EXPECT_EQ(parse_device({"name=gpu", {}}).name, "gpu");
  EXPECT_EQ(error_of([] { parse_device({"gpu,name=x", {}}); }), "device name already set to gpu");
  EXPECT_EQ(error_of([] { parse_device({"gpu,x=y", {}}); }), "unexpected key 'x' in 'x=y'");
}

TEST(Csv, Quotes) {
  EXPECT_EQ(split_csv("a,,\"b,\"\"c\"\"\","), (std::vector<std::string>{"a", "", "b,\"c\"", ""}));
  EXPECT_THROW(split_csv("\"a"), Error);
  EXPECT_THROW(split_csv("a\"b"), Error);
  EXPECT_THROW(split_csv("\"a\"b"), Error);
}

}  // namespace
}  // namespace corten::dockerfile
