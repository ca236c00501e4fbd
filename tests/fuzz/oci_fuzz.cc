// Platform strings and image names.
#include "base/strings.h"
#include "fuzz/fuzz.h"
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

}  // namespace corten::fuzz
