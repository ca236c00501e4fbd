// What Docker's own files say of registries: daemon.json and certs.d.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "http/connection.h"

namespace corten::registry {

// daemon.json: registry-mirrors (of docker.io alone, as in Docker) and insecure-registries.
struct DockerDaemon {
  struct Mirror {
    std::string scheme, authority, path;  // path: "" or "/..."
  };
  std::vector<Mirror> mirrors;
  std::vector<std::string> insecure_hosts;     // "host", "host:port"
  std::vector<std::string> insecure_networks;  // "10.0.0.0/8"
};

// Error(kInvalid) that names the file.
DockerDaemon parse_daemon_json(std::string_view text, const std::string& file);
// Adds what DIRECTORY/HOST[:PORT]/ holds: *.crt are authorities beside the system's; NAME.cert with NAME.key
// is the client's. Error(kNotFound) when one of the two is missing. Whether there was anything.
bool add_certificates(const std::string& directory, http::TlsOptions& tls);

}  // namespace corten::registry
