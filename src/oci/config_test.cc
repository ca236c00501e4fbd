#include "oci/config.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace corten::oci {
namespace {

const std::string kDiffA = "sha256:" + std::string(64, 'a'), kDiffB = "sha256:" + std::string(64, 'b');

// As BuildKit wrote it, every field used.
std::string full_config() {
  return R"({"architecture":"arm","author":"me","config":{"User":"1000:1000","ExposedPorts":{"80/tcp":{},"9/udp":{}},)"
         R"("Env":["PATH=/bin","B=x=y"],"Entrypoint":["/app"],"Cmd":["-a","b \u0026\u0026 c"],"Volumes":{"/data":{}},)"
         R"("WorkingDir":"/w","Labels":{"a":"1","b":"\u003c2\u003e"},"StopSignal":"SIGTERM","ArgsEscaped":true,)"
         R"("Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":30000000000,"Timeout":1000000,"StartPeriod":5,"StartInterval":6,)"
         R"("Retries":3},"OnBuild":["RUN x"],"StopTimeout":10,"Shell":["/bin/bash","-c"]},"created":"2024-01-02T03:04:05.6Z",)"
         R"("history":[{"created":"2024-01-02T03:04:05.6Z","created_by":"COPY . . # buildkit","comment":"buildkit.dockerfile.v0"},)"
         R"({"created_by":"CMD [\"x\"]","author":"me","empty_layer":true},{"created_by":"RUN y"}],"os":"linux","os.features":["f"],)"
         R"("os.version":"1.2","rootfs":{"type":"layers","diff_ids":[")" +
         kDiffA + R"(",")" + kDiffB + R"("]},"variant":"v7"})";
}

TEST(Config, RoundTripsByteForByte) {
  std::string bytes = full_config();
  ParsedConfig parsed = parse_config(bytes);
  EXPECT_EQ(parsed.warnings, std::vector<std::string>{});
  EXPECT_EQ(emit_config(parsed.config), bytes);
  EXPECT_EQ(parsed.config.raw, bytes);
  const RunConfig& config = parsed.config.config;
  EXPECT_EQ(config.cmd, (std::vector<std::string>{"-a", "b && c"}));
  ASSERT_TRUE(config.healthcheck);
  EXPECT_EQ(config.healthcheck->interval_ns, 30'000'000'000);
  EXPECT_EQ(config.stop_timeout_s, 10);
  EXPECT_EQ(parsed.config.platform.format_all(), "linux(1.2+f)/arm/v7");
  EXPECT_EQ(parsed.config.history.size(), 3u);
  EXPECT_TRUE(parsed.config.same_meaning(parse_config(bytes + "\n").config));
}

TEST(Config, KeepsWhatItDoesNotKnow) {
  ParsedConfig parsed = parse_config(
      R"({"docker_version":"1.2","os":"linux","architecture":"amd64","config":{"Hostname":"h","Cmd":null,"Image":""},)"
      R"("container_config":{"z":1,"a":2},"rootfs":{"type":"layers","diff_ids":null},"history":null})");
  EXPECT_EQ(
      emit_config(parsed.config),
      R"({"architecture":"amd64","config":{"Hostname":"h","Image":""},"container_config":{"z":1,"a":2},"docker_version":"1.2",)"
      R"("os":"linux","rootfs":{"type":"layers","diff_ids":[]}})");
  parsed.config.other.clear();
  parsed.config.config.other.clear();
  EXPECT_EQ(emit_config(parsed.config),
            R"({"architecture":"amd64","config":{},"os":"linux","rootfs":{"type":"layers","diff_ids":[]}})");
}

TEST(Config, WarnsOfOddities) {
  ParsedConfig parsed =
      parse_config(R"({"created":"yesterday","config":{"Env":["NOVALUE"]},"history":[{"created_by":"x"}],)"
                   R"("rootfs":{"type":"layers","diff_ids":[]}})");
  EXPECT_EQ(parsed.warnings,
            (std::vector<std::string>{"history has 1 layers, rootfs.diff_ids 0", "os is missing",
                                      "architecture is missing", "created \"yesterday\" is no RFC 3339 time",
                                      "Env \"NOVALUE\" is not of the form NAME=value"}));
  EXPECT_EQ(parse_config("{}").warnings.size(), 3u);
}

TEST(Config, Refuses) {
  auto refused = [](std::string_view bytes) {
    try {
      parse_config(bytes);
    } catch (const Error& error) {
      return error.code() == ErrorCode::kInvalid && std::string(error.what()).starts_with("image config");
    }
    return false;
  };
  for (const char* bytes :
       {"", "[]", "1", "{", R"({"os":1})", R"({"config":[]})", R"({"config":{"Env":"x"}})",
        R"({"config":{"Env":[1]}})", R"({"config":{"ExposedPorts":[]}})", R"({"config":{"Labels":{"a":1}}})",
        R"({"config":{"Healthcheck":{"Interval":"1s"}}})", R"({"rootfs":{"type":"other"}})",
        R"({"rootfs":{"type":"layers","diff_ids":["x"]}})", R"({"rootfs":[]})", R"({"history":{}})",
        R"({"history":[1]})", R"({"config":{"StopTimeout":"x"}})"})
    EXPECT_TRUE(refused(bytes)) << bytes;
  EXPECT_TRUE(refused(std::string(kMaxConfigBytes + 1, ' ')));
  std::string many = R"({"rootfs":{"type":"layers","diff_ids":[")" + kDiffA + '"';
  for (int i = 0; i < 10'000; i++) many += ",\"" + kDiffA + '"';
  EXPECT_TRUE(refused(many + "]}}"));
}

TEST(Config, Environment) {
  RunConfig config;
  config.set_env("A", "1");
  config.set_env("AB", "2");
  config.set_env("A", "x=y");
  EXPECT_EQ(config.env, (std::vector<std::string>{"A=x=y", "AB=2"}));
  EXPECT_EQ(config.env_value("A"), "x=y");
  EXPECT_FALSE(config.env_value("B"));
}

TEST(Config, Times) {
  EXPECT_EQ(format_time(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(format_time(1704164645, 600'000'000), "2024-01-02T03:04:05.6Z");
  EXPECT_EQ(format_time(-1, 1), "1969-12-31T23:59:59.000000001Z");
  EXPECT_EQ(parse_time("2024-01-02T03:04:05.6Z"), (Timestamp{1704164645, 600'000'000}));
  EXPECT_EQ(parse_time("2024-01-02T05:04:05+02:00"), (Timestamp{1704164645, 0}));
  EXPECT_EQ(parse_time("2024-01-02T02:34:05.1234567891-00:30"), (Timestamp{1704164645, 123'456'789}));
  EXPECT_EQ(parse_time("0001-01-01T00:00:00Z"), (Timestamp{-62135596800, 0}));
  EXPECT_EQ(format_time(-62135596800), "0001-01-01T00:00:00Z");
  for (const char* text : {"", "2024", "2024-02-30T00:00:00Z", "2024-01-02T03:04:05", "2024-01-02T03:04:05.Z",
                           "2024-01-02T03:04:05Zx", "2024-13-02T03:04:05Z", "2024-01-02T24:04:05Z",
                           "2024-01-02T03:04:05+0200", "x024-01-02T03:04:05Z"})
    EXPECT_FALSE(parse_time(text)) << text;
}

TEST(Config, ChainIds) {
  std::vector<DiffId> ids{{Digest::of("a")}, {Digest::of("b")}, {Digest::of("c")}};
  EXPECT_TRUE(chain_id(ids, 0).is_zero());
  EXPECT_EQ(chain_id(ids, 1), Digest::of("a"));
  Digest two = Digest::of(Digest::of("a").to_string() + " " + Digest::of("b").to_string());
  EXPECT_EQ(chain_id(ids, 2), two);
  EXPECT_EQ(chain_id(ids, 3), Digest::of(two.to_string() + " " + Digest::of("c").to_string()));
}

}  // namespace
}  // namespace corten::oci
