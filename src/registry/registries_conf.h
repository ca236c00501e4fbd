// containers-registries.conf(5), version 2, and what version 1 said of insecure and blocked registries.
//
// Not used: unqualified-search-registries and short-name aliases. A name without a host means docker.io on
// every machine, as in Dockerfiles everywhere.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace corten::registry {

// Which references are looked for at a mirror.
enum class MirrorUse { kAll, kDigestOnly, kTagOnly };

struct MirrorRule {
  std::string location;  // "host[:port][/path]"
  bool is_insecure = false;
  MirrorUse use = MirrorUse::kAll;
};

struct RegistryRule {
  std::string prefix;    // "docker.io", "example.com/team", "*.example.com"
  std::string location;  // instead of the prefix; "": the prefix itself
  bool is_insecure = false;
  bool is_blocked = false;
  std::vector<MirrorRule> mirrors;
  std::string file;  // that says so

  // How much of "example.com/team/app" the prefix is; nothing when it is none.
  std::optional<size_t> matches(std::string_view name) const;
};

// Error(kInvalid) with file and line.
std::vector<RegistryRule> parse_registries_conf(std::string_view text, const std::string& file);

// $CONTAINERS_REGISTRIES_CONF, else `user`/containers/registries.conf, else
// `system`/containers/registries.conf; then registries.conf.d/*.conf of both ($CONTAINERS_REGISTRIES_CONF_DIR
// instead of the system's), where a rule replaces one with the same prefix.
std::vector<RegistryRule> read_registries_conf(const std::string& system, const std::string& user);

// The rule with the longest prefix of "docker.io/library/app", or nullptr.
const RegistryRule* rule_for(const std::vector<RegistryRule>& rules, std::string_view name);

}  // namespace corten::registry
