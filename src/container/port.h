// Published ports: how they are written, bound, and who is in the way.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/unique_fd.h"

namespace corten::container {

struct Port {
  std::string host_ip;  // "" is every address, of both families
  uint16_t host = 0;    // 0: the system chooses
  uint16_t container = 0;
  std::string protocol = "tcp";  // or "udp"
  bool operator==(const Port&) const = default;
};

// `-p` as Docker reads it: [HOST_IP:][HOST]:CONTAINER[/tcp|/udp], with ranges of one length on both sides.
// Error(kUsage).
std::vector<Port> parse_ports(std::string_view text);

Json to_json(const Port& port);
Port port_from_json(const Json& json);

// A socket of ours on the host side, ready to be read; `port` has what the system chose.
struct Listener {
  Port port;
  UniqueFd fd;
};

// Binds them all, or none. Error(kExists) names the port and, where it can be found out, the process that
// holds it; Error(kPermission) for a port below the limit of ordinary users.
std::vector<Listener> bind_ports(const std::vector<Port>& ports);

// `"python3" (process 1234)`, or "" when nobody can be found (another user's process). Reads /proc.
std::string holder_of_port(uint16_t port, std::string_view protocol);

}  // namespace corten::container
