// containerd's hosts.toml (docs/hosts.md): certs.d/HOST/hosts.toml.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "registry/hosts.h"

namespace corten::registry {

struct HostsToml {
  struct Entry {
    Endpoint endpoint;  // without repository
    bool can_pull = true, can_resolve = true;
  };
  std::vector<Entry> mirrors;   // in the order of the file
  std::optional<Entry> server;  // instead of the registry's own host, or what the file says of that
};

// Error(kInvalid) with file and line. `origin`: the endpoint without this file. Relative paths are seen from
// the file's directory.
HostsToml parse_hosts_toml(std::string_view text, const std::string& file, const Endpoint& origin);

}  // namespace corten::registry
