// os/architecture/variant, with the rules of containerd's platforms package, which every builder's users
// know.
#pragma once
#include <compare>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace corten::oci {

struct Platform {
  std::string os, architecture, variant;
  std::string os_version;  // Windows builds: "10.0.20348.2227"
  std::vector<std::string> os_features;

  // "linux/arm/v7"; "unknown" for an empty os.
  std::string format() const;
  // With "(version+feature)" after the os.
  std::string format_all() const;
  // "linux_arm_v7", for directory names.
  std::string directory_name() const;
  // linux/arm gives linux/arm/v7, linux/arm64/v8 gives linux/arm64, Linux/x86_64 gives linux/amd64.
  Platform normalized() const;
  // The platform of an attestation manifest (os and architecture "unknown").
  bool is_unknown() const { return os == "unknown" && architecture == "unknown"; }

  auto operator<=>(const Platform&) const = default;
};

// This machine, normalised.
Platform host_platform();

// `os[(version[+feature]*)]/arch[/variant]` or one component, filled from `host`. Note that parsing alone
// makes linux/arm64/v8 of itself and linux/arm of linux/arm/v7's plain form: containerd's Parse; normalise
// for --platform. Error(kInvalid) in containerd's words.
Platform parse_platform(std::string_view text, const Platform& host);
Platform parse_platform(std::string_view text);  // on this machine

// What a machine of platform `wanted` can run, best first: linux/arm/v7, linux/arm/v6, linux/arm/v5.
std::vector<Platform> platform_candidates(const Platform& wanted);
// The rank of `offered` for `wanted`: 0 is exact, higher is worse, nothing when it does not run.
std::optional<int> platform_rank(const Platform& wanted, const Platform& offered);

// JSON as image-spec has it in descriptors: architecture, os, os.version, os.features, variant.
Platform platform_from_json(const Json& json);  // Error(kInvalid) for wrong types
Json platform_to_json(const Platform& platform);

}  // namespace corten::oci
