#include "container/port.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/core.h>

#include <set>

#include "base/error.h"
#include "base/strings.h"

namespace corten::container {

namespace {

struct Range {
  int first = 0, last = 0;
  int size() const { return last - first + 1; }
};

Range parse_range(std::string_view text, std::string_view whole) {
  size_t dash = text.find('-');
  auto number = [&](std::string_view digits) {
    auto value = parse_int(digits);
    if (!value || *value < 0 || *value > 65535 || digits.front() == '+')
      fail(ErrorCode::kUsage, "invalid port {} in {}", quote(digits), quote(whole));
    return static_cast<int>(*value);
  };
  Range range;
  range.first = number(text.substr(0, dash));
  range.last = dash == text.npos ? range.first : number(text.substr(dash + 1));
  if (range.last < range.first)
    fail(ErrorCode::kUsage, "invalid range of ports {} in {}", quote(text), quote(whole));
  return range;
}

bool is_address(const std::string& text) {
  in6_addr buffer;
  return inet_pton(AF_INET, text.c_str(), &buffer) == 1 || inet_pton(AF_INET6, text.c_str(), &buffer) == 1;
}

}  // namespace

std::vector<Port> parse_ports(std::string_view text) {
  std::string_view rest = text;
  Port port;
  if (size_t slash = rest.rfind('/'); slash != rest.npos) {
    port.protocol = to_lower(rest.substr(slash + 1));
    rest = rest.substr(0, slash);
    if (port.protocol != "tcp" && port.protocol != "udp")
      throw Error(ErrorCode::kUsage,
                  fmt::format("invalid protocol {} in {}", quote(port.protocol), quote(text)))
          .with_hint("tcp and udp can be published");
  }
  size_t last = rest.rfind(':');
  Range inside = parse_range(last == rest.npos ? rest : rest.substr(last + 1), text),
        outside{0, inside.size() - 1};
  if (last != rest.npos) {
    rest = rest.substr(0, last);
    size_t before = rest.rfind(':');
    std::string_view host = rest;
    if (rest.starts_with('[') || before != rest.npos) {
      size_t end = rest.starts_with('[') ? rest.find("]") : before;
      if (end == rest.npos) fail(ErrorCode::kUsage, "invalid address in {}", quote(text));
      port.host_ip = rest.starts_with('[') ? rest.substr(1, end - 1) : rest.substr(0, end);
      host = rest.starts_with('[') ? rest.substr(end + 1) : rest.substr(end);
      if (!host.starts_with(':')) fail(ErrorCode::kUsage, "invalid address in {}", quote(text));
      host.remove_prefix(1);
      if (!is_address(port.host_ip))
        fail(ErrorCode::kUsage, "invalid IP address {} in {}", quote(port.host_ip), quote(text));
    }
    if (!host.empty())
      outside = parse_range(host, text);
    else
      outside = {0, -1};
  } else {
    outside = {0, -1};
  }
  if (inside.first == 0) fail(ErrorCode::kUsage, "invalid port 0 in {}", quote(text));
  bool chosen = outside.last < outside.first;
  if (!chosen && outside.size() != inside.size())
    fail(ErrorCode::kUsage, "{}: the two ranges differ in length", quote(text));
  std::vector<Port> ports;
  for (int i = 0; i < inside.size(); i++) {
    port.container = static_cast<uint16_t>(inside.first + i);
    port.host = chosen ? 0 : static_cast<uint16_t>(outside.first + i);
    ports.push_back(port);
  }
  return ports;
}

Json to_json(const Port& port) {
  return Json::object({{"HostIp", port.host_ip},
                       {"HostPort", port.host},
                       {"ContainerPort", port.container},
                       {"Protocol", port.protocol}});
}

Port port_from_json(const Json& json) {
  return {json.get_string("HostIp"), static_cast<uint16_t>(json.get_int("HostPort")),
          static_cast<uint16_t>(json.get_int("ContainerPort")), json.get_string("Protocol", "tcp")};
}

namespace {

// The sockets that listen on the port: the last column but few of /proc/net/tcp (proc(5)).
std::set<std::string> listening_inodes(uint16_t port, std::string_view protocol) {
  std::set<std::string> inodes;
  for (const char* family : {"", "6"}) {
    std::string table;
    try {
      table = read_file(fmt::format("/proc/net/{}{}", protocol, family), 64 << 20);
    } catch (const Error&) {
      continue;  // a kernel without that family
    }
    for (const std::string& line : split(table, '\n')) {
      std::vector<std::string> words = split_words(line);
      if (words.size() < 10 || !words[1].ends_with(fmt::format(":{:04X}", port))) continue;
      if (protocol == "udp" || words[3] == "0A") inodes.insert("socket:[" + words[9] + "]");
    }
  }
  return inodes;
}

bool holds_one(const std::string& pid, const std::set<std::string>& sockets) {
  std::string directory = "/proc/" + pid + "/fd";
  DIR* stream = opendir(directory.c_str());
  if (!stream) return false;  // another user's
  bool found = false;
  char target[64];
  while (dirent* item = readdir(stream)) {
    ssize_t n = readlinkat(dirfd(stream), item->d_name, target, sizeof target);
    if (n > 0 && sockets.contains(std::string(target, static_cast<size_t>(n)))) {
      found = true;
      break;
    }
  }
  closedir(stream);
  return found;
}

struct Address {
  sockaddr_storage bytes{};
  socklen_t size = 0;
};

Address address_of(const std::string& ip, uint16_t port) {
  Address address;
  auto* four = reinterpret_cast<sockaddr_in*>(&address.bytes);
  auto* six = reinterpret_cast<sockaddr_in6*>(&address.bytes);
  if (inet_pton(AF_INET, ip.c_str(), &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(port);
    address.size = sizeof *four;
  } else {
    inet_pton(AF_INET6, ip.c_str(), &six->sin6_addr);
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port);
    address.size = sizeof *six;
  }
  return address;
}

[[noreturn]] void fail_bind(const Port& port, int error) {
  std::string shown = fmt::format("{}:{}", port.host_ip.empty() ? "0.0.0.0" : port.host_ip, port.host);
  if (error == EADDRINUSE) {
    std::string holder = holder_of_port(port.host, port.protocol);
    throw Error(ErrorCode::kExists,
                fmt::format("port {}: already in use{}", shown, holder.empty() ? "" : " by " + holder))
        .with_hint(fmt::format(
            "stop what holds it{}, or publish on another: -p {}:{}",
            holder.empty() ? fmt::format(" ('ss -lntup' as root names it, 'corten ps' lists containers)")
                           : "",
            port.host == 65535 ? 8080 : port.host + 1, port.container));
  }
  if (error == EACCES)
    throw Error(ErrorCode::kPermission, fmt::format("port {}: ordinary users may not have it", shown))
        .with_hint(fmt::format("publish on a port from 1024 on: -p {}:{}, or as root: sysctl -w "
                               "net.ipv4.ip_unprivileged_port_start={}",
                               port.host < 1024 ? port.host + 8000 : port.host, port.container, port.host));
  throw errno_error(error, fmt::format("port {}", shown));
}

// One address. Empty when `may_lack` and the machine has no such family.
UniqueFd bind_one(const std::string& ip, Port& port, bool may_lack) {
  Address address = address_of(ip, port.host);
  bool is_tcp = port.protocol == "tcp";
  UniqueFd fd(
      socket(address.bytes.ss_family, (is_tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) {
    if (may_lack) return fd;
    fail_bind(port, errno);
  }
  int yes = 1;
  if (is_tcp) setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (address.bytes.ss_family == AF_INET6) setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address.bytes), address.size) != 0 ||
      (is_tcp && listen(fd.get(), 128) != 0)) {
    int error = errno;
    if (may_lack && error == EADDRNOTAVAIL) return UniqueFd();
    fail_bind(port, error);
  }
  if (port.host == 0) {
    socklen_t size = sizeof address.bytes;
    if (getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address.bytes), &size) != 0)
      fail_errno("port {}", port.container);
    port.host = ntohs(
        reinterpret_cast<sockaddr_in*>(&address.bytes)->sin_port);  // at the same place for both families
  }
  return fd;
}

}  // namespace

std::string holder_of_port(uint16_t port, std::string_view protocol) {
  std::set<std::string> sockets = listening_inodes(port, protocol);
  if (sockets.empty()) return "";
  DIR* stream = opendir("/proc");
  if (!stream) return "";
  std::string holder;
  while (dirent* item = readdir(stream)) {
    std::string pid = item->d_name;
    if (!parse_int(pid) || !holds_one(pid, sockets)) continue;
    try {
      holder = fmt::format("{} (process {})", quote(trim(read_file("/proc/" + pid + "/comm", 64))), pid);
    } catch (const Error&) {
      continue;  // it ended meanwhile
    }
    break;
  }
  closedir(stream);
  return holder;
}

std::vector<Listener> bind_ports(const std::vector<Port>& ports) {
  std::vector<Listener> listeners;
  for (Port port : ports) {
    if (!port.host_ip.empty()) {
      UniqueFd fd = bind_one(port.host_ip, port, false);
      listeners.push_back({port, std::move(fd)});
      continue;
    }
    port.host_ip = "0.0.0.0";
    UniqueFd four = bind_one("0.0.0.0", port, false);
    listeners.push_back({port, std::move(four)});
    port.host_ip = "::";
    UniqueFd six = bind_one("::", port, true);
    if (six) listeners.push_back({port, std::move(six)});
  }
  return listeners;
}

}  // namespace corten::container
