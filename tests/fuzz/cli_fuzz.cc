// What is said on the command line, or in a file beside the Dockerfile, as attributes and settings.
#include <stdlib.h>

#include <algorithm>

#include "base/beneath.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "cli/build_calls.h"
#include "cli/cache_records.h"
#include "cli/config_file.h"
#include "cli/lint_settings.h"
#include "cli/output_spec.h"
#include "cli/platforms.h"
#include "cli/store_limits.h"
#include "container/port.h"
#include "container/volume.h"
#include "fuzz/fuzz.h"

namespace corten::fuzz {

using namespace corten::cli;

// A refusal says why and may be shown; what is accepted has a form that is executed.
FUZZ_TARGET(output_spec, "type=oci,dest=x.tar,compression=zstd,compression-level=3", "out", "-",
            "type=local,dest=a,platform-split=false,mode=delete", "type=docker,dest=-,\"name=a,b\"",
            "type=image,annotation-manifest[linux/amd64].org.x=y,annotation.a=b,unpack=1,push=f",
            "type=tar,dest=\"a\"\"b\",source-date-epoch=0", "type=cacheonly,annotation-index-descriptor.k=") {
  tolerate({ErrorCode::kUsage, ErrorCode::kUnsupported, ErrorCode::kInvalid}, [&] {
    OutputSpec output = parse_output(input);
    std::vector<std::string> types = {"oci", "docker", "local", "tar", "image", "cacheonly"};
    REQUIRE(std::find(types.begin(), types.end(), output.type) != types.end());
    REQUIRE(!output.compression.level || (*output.compression.level >= 0 && *output.compression.level <= 22));
    for (const auto& rule : output.annotations) REQUIRE(!rule.key.empty());
    for (const auto& name : output.names) REQUIRE(!name.empty());
  });
}

// Rules of one flag differ in their level and platform alone; as attributes they mean the same.
FUZZ_TARGET(annotation, "index,manifest[linux/arm64]:org.a=b", "key=", "a:b:c=d=e",
            "manifest-descriptor[arm]:k=v", "manifest[linux/arm/v7]:a=b", "[linux/amd64]:a=b",
            ".x=", "-index.a=b") {
  tolerate({ErrorCode::kUsage}, [&] {
    size_t equals = std::min(input.find('='), input.size());
    auto rule = image::parse_annotation_attribute("annotation" + std::string(input.substr(0, equals)), "v");
    if (rule) REQUIRE(!rule->key.empty() && rule->value == "v");
  });
  tolerate({ErrorCode::kUsage}, [&] {
    std::vector<image::AnnotationRule> rules = image::parse_annotation_flag(input);
    REQUIRE(!rules.empty());
    for (const image::AnnotationRule& rule : rules) {
      REQUIRE(!rule.key.empty() && rule.key == rules[0].key && rule.value == rules[0].value);
      oci::Platform platform = rule.platform.value_or(oci::Platform{.os = "linux", .architecture = "amd64"});
      REQUIRE(image::annotations_for(rules, rule.level, platform).contains(rule.key));
      tolerate({ErrorCode::kUsage}, [&] { image::check_annotations(rules, {{platform}, true, false}); });
    }
  });
}

FUZZ_TARGET(hadolint_settings,
            "ignored: [DL3008, 'DL3009']\noverride:\n  error:\n    - DL3006\nno-fail: true\n",
            "trustedRegistries:\n- a.example\n- '*.b'\nfailure-threshold: warning\nformat: sarif\n",
            "a: &x [1]\nignored: *x\n", "ignored:\n  x: y\n", "[[[[[", "- - - - -",
            "%TAG ! x\n---\n!a b: !!int c") {
  tolerate({ErrorCode::kInvalid}, [&] {
    LintSettings settings;
    read_lint_settings(std::string(input), ".hadolint.yaml", settings);
    tolerate({ErrorCode::kUsage}, [&] { report::format_findings(settings.format, {}); });
  });
}

// The file of settings, with the sizes in it.
FUZZ_TARGET(config_file, "store: /x\nmax-size: 10GB\nmin-free: 5%\nprogress: plain\n", "a: &x [*x]\n",
            "- a\n", "store: [x]\n", "store:\n  a: b\n", "&a [*a,*a]", "? {x}: y\n", "max-size: -1\n") {
  static TempDir place = [] {
    TempDir directory = TempDir::make("/tmp", "fuzz-");
    make_directories_on_host(directory / "corten");
    setenv("XDG_CONFIG_HOME", directory.path().c_str(), 1);
    return directory;
  }();
  write_file_atomic(place / "corten/config.yaml", input, 0600);
  tolerate({ErrorCode::kInvalid}, [&] {
    ConfigFile config = read_config_file();
    tolerate({ErrorCode::kInvalid, ErrorCode::kUsage}, [&] { store_limits("", "", config); });
  });
}

FUZZ_TARGET(cache_filter, "until=24h", "id~=^a.*(b", "inuse!=true", "description~=\\(a*\\)*",
            "type=", "unused-for=-5s", "id~=a++++++++++++++++++++++", "id~=((((a{99}){99}){99}){99})",
            "id~=(a*)\\1", "id~=[{]((((((((((((((((((((((a+)+)+)+)+)+)+)+)+)+)+)+)+)+)+)+)+)+)+)+)+)+)+",
            "id~=((((aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa){15}){15}){15}){15}") {
  tolerate({ErrorCode::kUsage}, [&] {
    std::string filter(input.substr(0, 100));
    if (filter.find('\0') != std::string::npos) return;
    auto test = parse_cache_filters({filter}, 1'000'000);
    until_of({filter}, 1'000'000);
    has_other_filters({filter});
    test({});
  });
}

// Of a container: what is accepted is kept as JSON and read as the same.
FUZZ_TARGET(ports_and_volumes, "127.0.0.1:80-82:90-92/tcp", "[::1]:8080:80/udp", "65536:1", "1-65535:1-65535",
            "./a:/b:ro,nocopy", "name:/x:z", "/y", "/t:size=5m,rw", "/t:size=99999999999999999999g") {
  tolerate({ErrorCode::kUsage}, [&] {
    for (const container::Port& port : container::parse_ports(input))
      REQUIRE(port.container != 0 && container::port_from_json(container::to_json(port)) == port);
  });
  for (auto parse : {container::parse_volume, container::parse_tmpfs})
    tolerate({ErrorCode::kUsage, ErrorCode::kInvalid, ErrorCode::kUnsupported}, [&] {
      container::Volume volume = parse(input);
      REQUIRE(!volume.target.is_root());
      if (is_valid_utf8(input)) REQUIRE(container::volume_from_json(container::to_json(volume)) == volume);
    });
}

FUZZ_TARGET(times_and_sizes, "1h30m", "-1.5h", "2562047h47m16.854775807s", "2024-01-02T03:04:05.5+01:00",
            "128m", "7.05MB", "18446744073709551615", "0644", "9999-12-31T23:59:59Z") {
  if (auto ns = parse_duration(input)) {
    auto same = parse_duration(format_duration(*ns));
    REQUIRE(same && *same == *ns);
  }
  if (auto seconds = parse_rfc3339(input)) {
    auto same = parse_rfc3339(format_rfc3339(*seconds));
    if (*seconds >= 0) REQUIRE(same && *same == *seconds);
  }
  parse_size(input);
  parse_decimal_size(input);
  parse_octal(input);
  human_duration(static_cast<int64_t>(input.size()));
  tolerate({ErrorCode::kUsage, ErrorCode::kInvalid}, [&] { parse_platforms({std::string(input)}); });
  tolerate({ErrorCode::kUsage, ErrorCode::kInvalid}, [&] { parse_call(input); });
}

}  // namespace corten::fuzz
