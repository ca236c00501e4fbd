// Platform strings, image names, and the documents of images.
#include "base/json.h"
#include "base/json_template.h"
#include "base/strings.h"
#include "fuzz/fuzz.h"
#include "oci/config.h"
#include "oci/layout.h"
#include "oci/manifest.h"
#include "oci/platform.h"
#include "oci/reference.h"

namespace corten::fuzz {

// What is written out is read back as the same; a platform runs itself.
FUZZ_TARGET(platform, "linux/amd64", "linux/arm/v7", "windows(10.0.20348.2227+win32k)/amd64", "arm64",
            "macos", "linux/arm64/v9.2", "linux(+a+b)/riscv64", "Linux/x86_64/v3", "linux/arm/v8", "*") {
  const oci::Platform host{.os = "linux", .architecture = "amd64"};
  tolerate({ErrorCode::kInvalid}, [&] {
    oci::Platform platform = oci::parse_platform(input, host);
    REQUIRE(!platform.os.empty() && !platform.architecture.empty());
    REQUIRE(is_terminal_text(platform.format_all()));
    REQUIRE(platform.directory_name().find('/') == std::string::npos && platform.directory_name()[0] != '.');
    oci::Platform normal = platform.normalized();
    REQUIRE(normal.normalized() == normal);
    REQUIRE(oci::parse_platform(platform.format_all(), host).normalized() == normal);
    REQUIRE(oci::platform_rank(platform, platform).has_value());
    REQUIRE(oci::platform_candidates(platform).size() < 200);
    REQUIRE(oci::platform_from_json(Json::parse(oci::platform_to_json(platform).dump())) == platform);
  });
}

FUZZ_TARGET(platform_json, R"({"os":"linux","architecture":"arm","variant":"v6"})",
            R"({"os":"windows","os.version":"10.0.1","os.features":["a"],"architecture":"amd64"})") {
  tolerate({ErrorCode::kInvalid}, [&] {
    oci::Platform platform = oci::platform_from_json(Json::parse(input));
    REQUIRE(oci::platform_from_json(oci::platform_to_json(platform)) == platform);
    oci::platform_rank(platform, platform);
  });
}

FUZZ_TARGET(reference, "ubuntu", "localhost:5000/a/b:tag", "docker.io/library/x",
            "a@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "[::1]:80/x",
            "a__b/c--d.e") {
  tolerate({ErrorCode::kInvalid}, [&] {
    oci::Reference reference = oci::Reference::parse(input);
    REQUIRE(is_terminal_text(reference.to_string()));
    REQUIRE(oci::Reference::parse(reference.to_string()) == reference);
    REQUIRE(oci::Reference::parse(reference.familiar()) == reference);
  });
}

namespace {
constexpr const char* kDescriptor =
    R"({"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0,"data":"","platform":{"os":"linux","architecture":"amd64"},"annotations":{"org.opencontainers.image.ref.name":"a"}})";
std::string manifest_text() {
  return std::string(
             R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":)") +
         replace_all(kDescriptor, "image.manifest", "image.config") + R"(,"layers":[)" +
         replace_all(kDescriptor, "manifest.v1+json", "layer.v1.tar+gzip") + "]}";
}
std::string index_text() {
  return std::string(R"({"schemaVersion":2,"manifests":[)") + kDescriptor + "," + kDescriptor + "]}";
}
}  // namespace

// A document is read as one thing: what is a manifest is no index (CVE-2021-41190). What is written of it
// says the same.
FUZZ_TARGET(oci_manifest, manifest_text(), index_text(), R"({"schemaVersion":1})",
            R"({"layers":[],"manifests":[]})") {
  tolerate({ErrorCode::kInvalid, ErrorCode::kUnsupported}, [&] { oci::detect_manifest_type(input); });
  bool is_manifest = tolerate({ErrorCode::kInvalid, ErrorCode::kUnsupported}, [&] {
    oci::Manifest manifest = oci::parse_manifest(input);
    REQUIRE(manifest.raw == input && manifest.layers.size() <= oci::kMaxLayers);
    oci::Manifest again = oci::parse_manifest(oci::emit_manifest(manifest));
    REQUIRE(oci::emit_manifest(again) == oci::emit_manifest(manifest));
  });
  bool is_index = tolerate({ErrorCode::kInvalid, ErrorCode::kUnsupported}, [&] {
    oci::Index index = oci::parse_index(input);
    REQUIRE(index.manifests.size() <= oci::kMaxIndexEntries);
    oci::Index again = oci::parse_index(oci::emit_index(index));
    REQUIRE(oci::emit_index(again) == oci::emit_index(index));
    const oci::Descriptor* chosen = oci::choose_manifest(index, {.os = "linux", .architecture = "amd64"});
    REQUIRE(!chosen || !oci::is_attestation(*chosen));
    for (const char* name : {"", "a", "latest"})
      tolerate({ErrorCode::kInvalid, ErrorCode::kNotFound}, [&] { oci::find_in_layout(index, name); });
    if (!index.manifests.empty()) oci::put_in_layout(index, oci::Descriptor(index.manifests[0]));
  });
  REQUIRE(!is_manifest || !is_index);
  tolerate({ErrorCode::kInvalid, ErrorCode::kUnsupported}, [&] { oci::check_layout_file(input); });
}

FUZZ_TARGET(
    oci_config,
    R"({"created":"2024-01-02T03:04:05.5Z","architecture":"amd64","os":"linux","config":{"Env":["A=b"],"Cmd":["x"],"Healthcheck":{"Test":["NONE"],"Interval":5},"ExposedPorts":{"80/tcp":{}},"OnBuild":["RUN x"],"StopTimeout":3},"rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]},"history":[{"created_by":"x","empty_layer":true}],"x":[1.5,null]})",
    R"({"os":"linux","architecture":"arm","rootfs":{"type":"layers","diff_ids":[]}})") {
  oci::parse_time(input);
  tolerate({ErrorCode::kInvalid, ErrorCode::kUnsupported}, [&] {
    oci::ImageConfig config = oci::parse_config(input).config;
    REQUIRE(config.raw == input);
    // Members that we do not know come in another order.
    oci::ImageConfig again = oci::parse_config(oci::emit_config(config)).config;
    REQUIRE(oci::emit_config(again) == oci::emit_config(config));
    again.other = config.other;
    REQUIRE(again.same_meaning(config));
    oci::chain_id(config.diff_ids, config.diff_ids.size());
  });
}

// A value is written as what it is, and Go's way of writing it differs in no meaning.
FUZZ_TARGET(json, R"({"a":[1,-2.5e3,"\u00e9\ud83d\ude00",true,null],"a":{}})", "[[[[[[[[]]]]]]]]",
            "18446744073709551615", "-9223372036854775808", "\"\\ud800\"", "1e999") {
  tolerate({ErrorCode::kInvalid}, [&] {
    Json value = Json::parse(input);
    std::string text = value.dump();
    REQUIRE(Json::parse(text).dump() == text);
    REQUIRE(Json::parse(value.dump({.indent = 2, .sort_keys = true, .escape_html = true}))
                .dump({.sort_keys = true}) == value.dump({.sort_keys = true}));
  });
}

FUZZ_TARGET(json_template, "{{.a.b}} {{json .a}}", "{{index .c 0}}", "{{range .c}}x{{end}}", "{{", "{{.a") {
  static const Json kValue = Json::parse(R"({"a":{"b":"x"},"c":[1,2]})");
  tolerate({ErrorCode::kUsage, ErrorCode::kInvalid, ErrorCode::kUnsupported},
           [&] { expand_template(input, kValue); });
}

}  // namespace corten::fuzz
