// Where a registry's API is: its own host, mirrors before it, how TLS is spoken there.
//
// What other tools' files say is obeyed; SYSTEM is /etc, or $CORTEN_SYSTEM_CONFIG; USER ~/.config, or
// $XDG_CONFIG_HOME.
//   containers   registries.conf, registries.conf.d (registry/registries_conf.h)
//   containerd   SYSTEM/containerd/certs.d/HOST/hosts.toml, or _default (registry/hosts_toml.h)
//   Docker       SYSTEM/docker/daemon.json or USER/docker/daemon.json: registry-mirrors, insecure-registries
//   both         certs.d/HOST/ below SYSTEM and USER, docker and containers: *.crt, NAME.cert, NAME.key
// Mirrors are tried in this order: registries.conf, hosts.toml, daemon.json.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "http/client.h"
#include "oci/reference.h"

namespace corten::registry {

struct Endpoint {
  std::string scheme = "https";
  std::string authority;       // "registry-1.docker.io", "localhost:5000"
  std::string prefix = "/v2";  // "/v2/mirror-path" with override_path of a hosts.toml
  std::string registry;        // whose images are there: "docker.io"
  std::string repository;      // how the asked one is called there: "library/ubuntu"
  bool is_mirror = false;
  bool can_push = true;
  // The other scheme is tried too when this one finds no server (loopback, insecure registries): decided
  // once for each host.
  bool may_be_either_scheme = false;
  bool adds_namespace = false;  // ?ns=docker.io is added, so that one mirror can serve several registries
  http::TlsOptions tls;
  http::Fields fields;  // for this host alone

  std::string base() const { return scheme + "://" + authority + prefix; }
};

// Thread-safe to read.
class Hosts {
 public:
  // Reads what this machine says. Error(kInvalid) with file and line for a malformed file.
  static Hosts from_system();
  static Hosts from_directories(const std::string& system, const std::string& user);
  Hosts();  // nothing but the defaults
  ~Hosts();
  Hosts(Hosts&&) noexcept;
  Hosts& operator=(Hosts&&) noexcept;

  // In the order of trial; the registry itself is last. Mirrors never for a push. Some mirrors serve digests
  // alone: ask again once the tag is resolved. Error(kPermission) for a registry that is blocked.
  std::vector<Endpoint> endpoints(const oci::Reference& reference, bool for_push) const;
  // The registry itself, for what has no repository (login).
  Endpoint origin(const std::string& registry) const;

 private:
  std::vector<Endpoint> endpoints_of(const std::string& registry, const std::string& repository,
                                     bool has_digest, bool for_push) const;
  struct Settings;
  std::unique_ptr<const Settings> settings_;
};

// 127.0.0.0/8, ::1, localhost and names below it, with or without port.
bool is_loopback(std::string_view authority);

}  // namespace corten::registry
