#include "oci/platform.h"

#include <sys/utsname.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/strings.h"

namespace corten::oci {

namespace {
constexpr std::string_view kKnownSystems[] = {
    "aix",   "android", "darwin", "dragonfly", "freebsd", "hurd",    "illumos", "ios", "js",
    "linux", "nacl",    "netbsd", "openbsd",   "plan9",   "solaris", "windows", "zos"};
constexpr std::string_view kKnownArchitectures[] = {
    "386",     "amd64",   "amd64p32", "arm",    "armbe",  "arm64",    "arm64be",   "ppc64",
    "ppc64le", "loong64", "mips",     "mipsle", "mips64", "mips64le", "mips64p32", "mips64p32le",
    "ppc",     "riscv",   "riscv64",  "s390",   "s390x",  "sparc",    "sparc64",   "wasm"};

template <typename List>
bool contains(const List& list, std::string_view name) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

std::string normal_system(std::string_view os) {
  std::string lower = to_lower(os);
  return lower == "macos" ? "darwin" : lower;
}

struct Architecture {
  std::string name, variant;
};

Architecture normal_architecture(std::string_view given, std::string_view given_variant) {
  std::string name = to_lower(given), variant = to_lower(given_variant);
  if (name == "i386") return {"386", ""};
  if (name == "x86_64" || name == "x86-64" || name == "amd64")
    return {"amd64", variant == "v1" ? "" : variant};
  if (name == "aarch64" || name == "arm64") {
    if (variant == "8" || variant == "v8" || variant == "v8.0") variant = "";
    if (variant == "9" || variant == "9.0" || variant == "v9.0") variant = "v9";
    return {"arm64", variant};
  }
  if (name == "armhf") return {"arm", "v7"};
  if (name == "armel") return {"arm", "v6"};
  if (name == "arm") {
    if (variant.empty() || variant == "7") return {"arm", "v7"};
    if (variant == "5" || variant == "6" || variant == "8") return {"arm", "v" + variant};
  }
  return {name, variant};
}

bool is_component(std::string_view text, std::string_view extra) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           extra.find(c) != std::string_view::npos;
  });
}

[[noreturn]] void refuse(std::string_view specifier, std::string_view why) {
  throw Error(ErrorCode::kInvalid, fmt::format("{}: {}: invalid argument", quote(specifier), why))
      .with_hint("a platform looks like linux/amd64 or linux/arm/v7");
}

// "windows(10.0.20348+win32k)": the name, and into `to` what is in the brackets.
std::string parse_system(std::string_view text, std::string_view specifier, Platform& to) {
  size_t open = text.find('(');
  std::string_view name = text.substr(0, open);
  bool ok = is_component(name, "_-");
  if (ok && open != std::string_view::npos) {
    ok = text.ends_with(')');
    std::vector<std::string> parts = split(text.substr(open + 1, ok ? text.size() - open - 2 : 0), '+');
    ok = ok && (parts[0].empty() || is_component(parts[0], "_.-"));
    to.os_version = parts[0];
    for (size_t i = 1; i < parts.size(); i++) {
      ok = ok && is_component(parts[i], "_.-");
      to.os_features.push_back(parts[i]);
    }
  }
  if (!ok) refuse(specifier, fmt::format("{} is an invalid OS component", quote(text)));
  return normal_system(name);
}

// "v8.5" gives {8, 5}.
std::optional<std::pair<int, int>> arm64_version(std::string_view variant) {
  if (variant.empty()) return std::pair{8, 0};
  if (!variant.starts_with('v')) return std::nullopt;
  std::vector<std::string> parts = split(variant.substr(1), '.');
  if (parts.size() > 2) return std::nullopt;
  auto major = parse_int(parts[0]),
       minor = parts.size() == 2 ? parse_int(parts[1]) : std::optional<int64_t>(0);
  if (!major || !minor || (*major != 8 && *major != 9) || *minor < 0 || *minor > 9) return std::nullopt;
  return std::pair{static_cast<int>(*major), static_cast<int>(*minor)};
}

std::optional<int> small_version(std::string_view variant) {
  if (!variant.starts_with('v')) return std::nullopt;
  auto value = parse_int(variant.substr(1));
  if (!value || *value < 1 || *value > 99) return std::nullopt;
  return static_cast<int>(*value);
}

// Windows images run on hosts of the same build: the first three parts of the version.
bool same_windows_build(const std::string& wanted, const std::string& offered) {
  if (wanted.empty() || offered.empty()) return true;
  std::vector<std::string> a = split(wanted, '.'), b = split(offered, '.');
  for (size_t i = 0; i < 3 && i < a.size() && i < b.size(); i++)
    if (a[i] != b[i]) return false;
  return true;
}
}  // namespace

std::string Platform::format() const {
  if (os.empty()) return "unknown";
  std::string text = os;
  if (!architecture.empty()) text += "/" + architecture;
  if (!variant.empty()) text += "/" + variant;
  return text;
}

std::string Platform::format_all() const {
  if (os.empty() || (os_version.empty() && os_features.empty())) return format();
  std::string text = os + "(" + os_version;
  for (const std::string& feature : os_features) text += "+" + feature;
  return text + ")" + format().substr(os.size());
}

std::string Platform::directory_name() const {
  return replace_all(format(), "/", "_");
}

Platform Platform::normalized() const {
  Platform result = *this;
  result.os = normal_system(os);
  Architecture arch = normal_architecture(architecture, variant);
  result.architecture = arch.name;
  result.variant = arch.variant;
  return result;
}

Platform host_platform() {
  utsname name;
  if (uname(&name) != 0) fail_errno("uname");
  std::string_view machine = name.machine;
  Platform host{.os = "linux", .architecture = std::string(machine)};
  if (machine == "i486" || machine == "i586" || machine == "i686") host.architecture = "386";
  if (machine.starts_with("armv")) {  // "armv7l"
    host.architecture = "arm";
    host.variant = "v" + std::string(machine.substr(4, 1));
  }
  if (machine == "loongarch64") host.architecture = "loong64";
  return host.normalized();
}

Platform parse_platform(std::string_view text) {
  return parse_platform(text, host_platform());
}

Platform parse_platform(std::string_view text, const Platform& host) {
  if (text.find('*') != std::string_view::npos) refuse(text, "wildcards not yet supported");
  std::vector<std::string> parts = split(text, '/');
  for (size_t i = 1; i < parts.size(); i++)
    if (!is_component(parts[i], "_.-"))
      refuse(text, fmt::format("{} is an invalid component", quote(parts[i])));
  Platform result;
  std::string system = parse_system(parts[0], text, result);

  auto set_architecture = [&](std::string_view name, std::string_view variant) {
    Architecture arch = normal_architecture(name, variant);
    result.architecture = arch.name;
    result.variant = arch.variant;
  };
  switch (parts.size()) {
    case 1:
      if (contains(kKnownSystems, system)) {
        result.os = system;
        result.architecture = host.architecture;
        if (host.architecture == "arm" && host.variant != "v7") result.variant = host.variant;
        return result;
      }
      set_architecture(parts[0], "");
      if (!contains(kKnownArchitectures, result.architecture))
        refuse(text, "unknown operating system or architecture");
      result.os = host.os;
      break;
    case 2:
      result.os = system;
      set_architecture(parts[1], "");
      break;
    case 3:
      result.os = system;
      set_architecture(parts[1], parts[2]);
      if (result.architecture == "arm64" && result.variant.empty()) result.variant = "v8";
      return result;
    default:
      refuse(text, "cannot parse platform specifier");
  }
  if (result.architecture == "arm" && result.variant == "v7") result.variant.clear();
  return result;
}

std::vector<Platform> platform_candidates(const Platform& wanted) {
  Platform base = wanted.normalized();
  std::vector<Platform> result;
  auto add = [&](std::string_view architecture, std::string variant) {
    Platform next = base;
    next.architecture = architecture;
    next.variant = std::move(variant);
    result.push_back(next.normalized());
  };
  auto add_arm = [&](int version) {
    for (; version >= 5; version--) add("arm", "v" + std::to_string(version));
  };
  if (base.architecture == "amd64") {
    result.push_back(base);
    if (auto version = small_version(base.variant))
      for (int v = *version - 1; v >= 1; v--) add("amd64", "v" + std::to_string(v));
    add("386", "");
  } else if (base.architecture == "arm") {
    result.push_back(base);
    if (auto version = small_version(base.variant)) add_arm(*version - 1);
  } else if (base.architecture == "arm64") {
    auto version = arm64_version(base.variant);
    if (!version) {
      result.push_back(base);
    } else {
      auto [major, minor] = *version;
      auto add_family = [&](int family, int from) {
        for (int m = from; m >= 1; m--) add("arm64", fmt::format("v{}.{}", family, m));
        add("arm64", fmt::format("v{}", family));
      };
      add_family(major, minor);
      // ARMv9.x has everything of ARMv8.(x+5); there is no v8.10.
      if (major == 9) add_family(8, std::min(minor + 5, 9));
    }
    add_arm(8);
  } else {
    result.push_back(base);
  }
  return result;
}

std::optional<int> platform_rank(const Platform& wanted, const Platform& offered) {
  Platform normal = offered.normalized();
  std::vector<Platform> candidates = platform_candidates(wanted);
  for (size_t i = 0; i < candidates.size(); i++) {
    const Platform& candidate = candidates[i];
    if (candidate.os != normal.os || candidate.architecture != normal.architecture ||
        candidate.variant != normal.variant)
      continue;
    if (normal.os == "windows" && !same_windows_build(candidate.os_version, normal.os_version)) continue;
    return static_cast<int>(i);
  }
  return std::nullopt;
}

Platform platform_from_json(const Json& json) {
  if (!json.is_object()) fail(ErrorCode::kInvalid, "platform: must be an object");
  return {.os = json.get_string("os"),
          .architecture = json.get_string("architecture"),
          .variant = json.get_string("variant"),
          .os_version = json.get_string("os.version"),
          .os_features = json.get_strings("os.features")};
}

Json platform_to_json(const Platform& platform) {
  Json json = Json::object({{"architecture", platform.architecture}, {"os", platform.os}});
  if (!platform.os_version.empty()) json.set("os.version", platform.os_version);
  if (!platform.os_features.empty()) json.set("os.features", platform.os_features);
  if (!platform.variant.empty()) json.set("variant", platform.variant);
  return json;
}

}  // namespace corten::oci
