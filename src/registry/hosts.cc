#include "registry/hosts.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "http/name_resolver.h"
#include "http/url.h"
#include "registry/docker_settings.h"
#include "registry/hosts_toml.h"
#include "registry/registries_conf.h"

namespace corten::registry {

namespace {

constexpr size_t kMaxBytes = 1 << 20;
constexpr int kResolveMs = 5000;

std::string variable(const char* name) {
  const char* value = getenv(name);
  return value ? value : "";
}

std::string host_part(std::string_view authority) {
  std::string host(authority);
  if (host.starts_with('[')) return host.substr(1, host.find(']') - 1);
  host.resize(std::min(host.find(':'), host.size()));
  return host;
}

std::string api_authority(const std::string& host) {
  return host == "docker.io" || host == "index.docker.io" ? "registry-1.docker.io" : host;
}

// Two ways into the same door are one.
bool is_same(const Endpoint& a, const Endpoint& b) {
  return a.scheme == b.scheme && a.authority == b.authority && a.prefix == b.prefix &&
         a.repository == b.repository;
}

}  // namespace

struct Hosts::Settings {
  std::vector<RegistryRule> rules;
  DockerDaemon daemon;
  std::vector<std::string> toml_directories;         // of HOST/hosts.toml
  std::vector<std::string> certificate_directories;  // of HOST/*.crt

  bool is_insecure(const std::string& authority) const {
    const std::string host = host_part(authority), whole = to_lower(authority);
    for (const std::string& known : daemon.insecure_hosts)
      if (known == whole || known == to_lower(host)) return true;
    if (daemon.insecure_networks.empty()) return false;
    std::vector<std::string> addresses = {host};
    try {
      char text[INET6_ADDRSTRLEN];
      for (const http::Address& address : http::resolve_host(host, 443, kResolveMs)) {
        const void* bytes =
            address.value.ss_family == AF_INET
                ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(&address.value)->sin_addr)
                : &reinterpret_cast<const sockaddr_in6*>(&address.value)->sin6_addr;
        if (inet_ntop(address.value.ss_family, bytes, text, sizeof text)) addresses.emplace_back(text);
      }
    } catch (const Error&) {
      // What has no address is in no network; whoever connects says so.
    }
    for (const std::string& address : addresses)
      for (const std::string& network : daemon.insecure_networks)
        if (http::is_in_network(address, network)) return true;
    return false;
  }

  // The first of HOST_PORT_, HOST:PORT and _default that is there (containerd's hostPaths).
  std::string toml_directory_of(const std::string& registry) const {
    const size_t colon = registry.starts_with('[') ? registry.find("]:") : registry.find(':');
    std::vector<std::string> names = {registry, "_default"};
    if (colon != std::string::npos) {
      std::string name = registry;
      name[registry.starts_with('[') ? colon + 1 : colon] = '_';
      names.insert(names.begin(), name + "_");
    }
    for (const std::string& directory : toml_directories)
      for (const std::string& name : names)
        if (path_exists(directory + "/" + name)) return directory + "/" + name;
    return {};
  }

  void add_certificates_of(const std::set<std::string>& names, Endpoint& endpoint) const {
    bool found = false;
    for (const std::string& directory : certificate_directories)
      for (const std::string& name : names) found |= add_certificates(directory + "/" + name, endpoint.tls);
    // Who has a certificate for this machine's own registry wants it looked at.
    if (found && is_loopback(endpoint.authority)) {
      endpoint.scheme = "https";
      endpoint.may_be_either_scheme = false;
      endpoint.tls.is_verified = true;
    }
  }

  // A host as it is without a hosts.toml.
  Endpoint host(const std::string& name, bool is_said_insecure) const {
    Endpoint endpoint;
    endpoint.authority = api_authority(name);
    if (is_loopback(name)) {
      // Plain first: a server that waits for a plain request's end would let a TLS greeting wait.
      endpoint.scheme = "http";
      endpoint.may_be_either_scheme = true;
      endpoint.tls.is_verified = false;
    } else if (is_said_insecure || is_insecure(name)) {
      endpoint.may_be_either_scheme = true;
      endpoint.tls.is_verified = false;
    }
    add_certificates_of({name, endpoint.authority}, endpoint);
    return endpoint;
  }

  // "host/path" of a rule, and what stands behind the rule's prefix in the name.
  Endpoint at_location(const std::string& location, const std::string& rest, bool is_said_insecure,
                       const std::string& file) const {
    const size_t slash = std::min(location.find('/'), location.size());
    Endpoint endpoint = host(location.substr(0, slash), is_said_insecure);
    endpoint.repository = location.substr(slash) + rest;
    endpoint.repository.erase(0, endpoint.repository.find_first_not_of('/'));
    if (!oci::is_valid_repository(endpoint.repository))
      throw Error(ErrorCode::kInvalid,
                  fmt::format("{}: location {} makes {} of the name, which is no repository", file,
                              quote(location), quote(endpoint.repository)))
          .with_hint("a location is HOST[:PORT]/PATH; what stands behind the prefix is put behind it");
    return endpoint;
  }
};

Hosts::Hosts() : settings_(std::make_unique<Settings>()) {}
Hosts::~Hosts() = default;
Hosts::Hosts(Hosts&&) noexcept = default;
Hosts& Hosts::operator=(Hosts&&) noexcept = default;

Hosts Hosts::from_system() {
  std::string system = variable("CORTEN_SYSTEM_CONFIG"), user = variable("XDG_CONFIG_HOME");
  const std::string home = variable("HOME");
  if (system.empty()) system = "/etc";
  if (user.empty() && !home.empty()) user = home + "/.config";
  return from_directories(system, user);
}

Hosts Hosts::from_directories(const std::string& system, const std::string& user) {
  auto settings = std::make_unique<Settings>();
  settings->rules = read_registries_conf(system, user);
  // Without root, Docker has its own below the user's configuration.
  for (const std::string& directory : {user.empty() ? "" : user + "/docker", system + "/docker"}) {
    const std::string file = directory + "/daemon.json";
    if (directory.empty() || !path_exists(file)) continue;
    settings->daemon = parse_daemon_json(read_file(file, kMaxBytes), file);
    break;
  }
  settings->toml_directories = {system + "/containerd/certs.d"};
  if (!user.empty())
    for (const char* kind : {"/docker", "/containers"})
      settings->certificate_directories.push_back(user + kind + "/certs.d");
  for (const char* kind : {"/docker", "/containers"})
    settings->certificate_directories.push_back(system + kind + "/certs.d");
  Hosts hosts;
  hosts.settings_ = std::move(settings);
  return hosts;
}

bool is_loopback(std::string_view authority) {
  const std::string host = to_lower(host_part(authority));
  if (host == "localhost" || host.ends_with(".localhost")) return true;
  in_addr four;
  if (inet_pton(AF_INET, host.c_str(), &four) == 1) return ntohl(four.s_addr) >> 24 == 127;
  in6_addr six;
  return inet_pton(AF_INET6, host.c_str(), &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

std::vector<Endpoint> Hosts::endpoints(const oci::Reference& reference, bool for_push) const {
  return endpoints_of(reference.registry(), reference.repository(), reference.digest().has_value(), for_push);
}

Endpoint Hosts::origin(const std::string& registry) const {
  return endpoints_of(registry, "", false, true).back();
}

std::vector<Endpoint> Hosts::endpoints_of(const std::string& registry, const std::string& repository,
                                          bool has_digest, bool for_push) const {
  const std::string name = repository.empty() ? registry : registry + "/" + repository;
  const RegistryRule* rule = rule_for(settings_->rules, name);
  if (rule && rule->is_blocked)
    throw Error(ErrorCode::kPermission,
                fmt::format("{} is blocked by registry {} of {}", name, quote(rule->prefix), rule->file))
        .with_hint("take blocked = true out of it, or use another registry");

  std::vector<Endpoint> found;
  const auto add = [&](Endpoint endpoint, bool is_mirror) {
    endpoint.registry = registry;
    endpoint.is_mirror = is_mirror;
    endpoint.can_push = !is_mirror;
    if (endpoint.repository.empty()) endpoint.repository = repository;
    const auto known = std::find_if(found.begin(), found.end(),
                                    [&](const Endpoint& other) { return is_same(other, endpoint); });
    if (known != found.end() && is_mirror) return;
    if (known != found.end()) found.erase(known);  // a mirror that is the registry itself: it is last
    found.push_back(std::move(endpoint));
  };

  const std::string rest = rule ? name.substr(*rule->matches(name)) : "";
  if (rule && !for_push)
    for (const MirrorRule& mirror : rule->mirrors) {
      if (mirror.use == MirrorUse::kDigestOnly && !has_digest) continue;
      if (mirror.use == MirrorUse::kTagOnly && has_digest) continue;
      add(settings_->at_location(mirror.location, rest, mirror.is_insecure, rule->file), true);
    }

  Endpoint origin = settings_->host(registry, rule && rule->is_insecure);
  if (rule && !for_push && !rule->location.empty() && rule->location != rule->prefix)
    origin = settings_->at_location(rule->location, rest, rule->is_insecure, rule->file);
  origin.registry = registry;
  if (const std::string directory = settings_->toml_directory_of(registry); !directory.empty()) {
    add_certificates(directory, origin.tls);
    if (const std::string file = directory + "/hosts.toml"; path_exists(file)) {
      HostsToml toml = parse_hosts_toml(read_file(file, kMaxBytes), file, origin);
      for (HostsToml::Entry& entry : toml.mirrors)
        if (!for_push && (has_digest ? entry.can_pull : entry.can_resolve))
          add(std::move(entry.endpoint), true);
      if (toml.server) origin = std::move(toml.server->endpoint);
    }
  }
  if (registry == "docker.io" && !for_push)
    for (const DockerDaemon::Mirror& mirror : settings_->daemon.mirrors) {
      Endpoint endpoint = settings_->host(mirror.authority, false);
      endpoint.scheme = mirror.scheme;
      endpoint.may_be_either_scheme = false;
      endpoint.prefix = mirror.path + "/v2";
      add(std::move(endpoint), true);
    }
  add(std::move(origin), false);
  return found;
}

}  // namespace corten::registry
