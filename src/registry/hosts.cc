#include "registry/hosts.h"

#include <arpa/inet.h>

#include "base/strings.h"

namespace corten::registry {

struct Hosts::Settings {};

Hosts::Hosts() : settings_(std::make_unique<Settings>()) {}
Hosts::~Hosts() = default;
Hosts::Hosts(Hosts&&) noexcept = default;
Hosts& Hosts::operator=(Hosts&&) noexcept = default;

Hosts Hosts::from_system() {
  return Hosts();
}

bool is_loopback(std::string_view authority) {
  std::string host(authority);
  if (host.starts_with('['))
    host = host.substr(1, host.find(']') - 1);
  else
    host.resize(std::min(host.find(':'), host.size()));
  if (iequals(host, "localhost") || to_lower(host).ends_with(".localhost")) return true;
  in_addr four;
  if (inet_pton(AF_INET, host.c_str(), &four) == 1) return ntohl(four.s_addr) >> 24 == 127;
  in6_addr six;
  return inet_pton(AF_INET6, host.c_str(), &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

Endpoint Hosts::origin(const std::string& registry) const {
  Endpoint endpoint;
  endpoint.registry = registry;
  endpoint.authority = registry == "docker.io" ? "registry-1.docker.io" : registry;
  if (is_loopback(registry)) {
    // Plain first: a server that waits for a plain request's end would let a TLS greeting wait.
    endpoint.scheme = "http";
    endpoint.may_be_either_scheme = true;
    endpoint.tls.is_verified = false;
  }
  return endpoint;
}

std::vector<Endpoint> Hosts::endpoints(const oci::Reference& reference, bool) const {
  Endpoint endpoint = origin(reference.registry());
  endpoint.repository = reference.repository();
  return {std::move(endpoint)};
}

}  // namespace corten::registry
