// What a base image should be: a recipe that people write, and the lock that `corten base lock` writes beside
// it.
//
// A lock says which packages, byte for byte; it names no host, so that it builds from any mirror and from the
// store alone. docs/formats, "Base recipe" and "Base lock".
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "oci/platform.h"

namespace corten::source::debian {

inline constexpr std::string_view kDefaultSuite = "bookworm";

enum class Variant {
  kMinbase,     // essential packages and apt, configured by their maintainer scripts
  kDistroless,  // extracted only: no shell, no dpkg
  kBusybox,     // busybox-static with its applets, extracted only
};
std::string_view variant_name(Variant variant);
Variant parse_variant(std::string_view name);  // Error(kInvalid) with a suggestion

struct Recipe {
  std::string name;  // the tag when none is given; may be ""
  std::string suite{kDefaultSuite};
  std::vector<std::string> mirrors;  // none: the machine's apt sources
  std::string architecture;          // Debian's name
  Variant variant = Variant::kMinbase;
  std::vector<std::string> include;  // NAME or NAME=VERSION
  std::vector<std::pair<std::string, std::string>> env;
  std::map<std::string, std::string> labels;
  std::vector<std::string> entrypoint;
  std::optional<std::vector<std::string>> cmd;
  std::string user, working_dir;
  std::optional<uint64_t> size_budget;  // bytes, uncompressed
};

// YAML. Error(kInvalid) with a span; a key that is nearly right gets a suggestion.
Recipe parse_recipe(std::string_view text, std::string_view file_name);
// Throws Error(kInvalid) for names that cannot be.
void check_recipe(const Recipe& recipe);

struct LockedPackage {
  std::string name, version, architecture;
  std::string suite;  // where it was found
  std::string path;   // in that archive: pool/main/...
  uint64_t size = 0;
  Digest digest;
  bool is_essential = false;  // belongs to the variant itself, not to what was included
  bool operator==(const LockedPackage&) const = default;
};

struct LockedRelease {
  std::string suite;
  std::string date;  // as the Release file has it
  Digest digest;     // of the InRelease file
  bool operator==(const LockedRelease&) const = default;
};

struct Lock {
  std::string suite, architecture;
  Variant variant = Variant::kMinbase;
  std::vector<std::string> include;     // sorted
  std::vector<LockedRelease> releases;  // in the order of their names
  std::vector<LockedPackage> packages;  // by name
  bool operator==(const Lock&) const = default;
};

std::string emit_lock(const Lock& lock);
// Error(kInvalid) "NAME:LINE: ...".
Lock parse_lock(std::string_view text, std::string_view name);
// Error(kInvalid), with `corten base lock` as its hint, when the lock was made for another suite, variant or
// list.
void check_lock_fits(const Recipe& recipe, const Lock& lock);

// Debian's names of platforms ("amd64", "armhf"); Error(kUnsupported) for others.
std::string debian_architecture(const oci::Platform& platform);
oci::Platform platform_of(std::string_view debian_architecture);

}  // namespace corten::source::debian
