// Host names to addresses by c-ares: a statically linked glibc cannot do it (it would need its NSS modules).
#pragma once
#include <sys/socket.h>

#include <string>
#include <vector>

namespace corten::http {

struct Address {
  sockaddr_storage value{};
  socklen_t size = 0;
};

// In the order in which they should be tried; /etc/hosts and numeric addresses count. Error(kIo) after
// `timeout_ms` or when no server answers, Error(kNotFound) when there is no such name. Thread-safe.
std::vector<Address> resolve_host(const std::string& host, uint16_t port, int timeout_ms);

}  // namespace corten::http
