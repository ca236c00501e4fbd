// What is said on the command line, or in a file beside the Dockerfile, as attributes and settings.
#include <algorithm>

#include "base/json.h"
#include "base/strings.h"
#include "cli/lint_settings.h"
#include "cli/output_spec.h"
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

}  // namespace corten::fuzz
