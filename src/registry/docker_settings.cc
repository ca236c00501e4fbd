#include "registry/docker_settings.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "http/url.h"
#include "registry/directory_names.h"

namespace corten::registry {

namespace {

constexpr size_t kMaxBytes = 1 << 20;

// Bytes of an address; 0 when it is none.
size_t address_bytes(std::string_view text, uint8_t* bytes) {
  const std::string copy(text);
  if (inet_pton(AF_INET, copy.c_str(), bytes) == 1) return 4;
  if (inet_pton(AF_INET6, copy.c_str(), bytes) == 1) return 16;
  return 0;
}

}  // namespace

DockerDaemon parse_daemon_json(std::string_view text, const std::string& file) {
  DockerDaemon daemon;
  if (trim(text).empty()) return daemon;
  try {
    const Json json = Json::parse(text, kMaxBytes);
    for (const std::string& mirror : json.get_strings("registry-mirrors")) {
      http::Url url = http::parse_url(mirror);
      if (url.is_file())
        fail(ErrorCode::kInvalid, "registry mirror {} is no address of a server", quote(mirror));
      while (url.target.ends_with('/')) url.target.pop_back();
      daemon.mirrors.push_back({url.scheme, url.authority(), url.target});
    }
    for (const std::string& host : json.get_strings("insecure-registries"))
      (host.find('/') == std::string::npos ? daemon.insecure_hosts : daemon.insecure_networks)
          .push_back(to_lower(host.starts_with("http://") ? host.substr(7) : host));
  } catch (Error& error) {
    error.add_context(file);
    if (error.hint().empty())
      error.set_hint("mend it, or move it away: it is Docker's, read for its mirrors");
    throw;
  }
  return daemon;
}

bool is_in_network(std::string_view address, std::string_view network) {
  const size_t slash = network.find('/');
  if (slash == std::string_view::npos) return false;
  uint8_t a[16], n[16];
  const size_t size = address_bytes(address, a);
  if (size == 0 || address_bytes(network.substr(0, slash), n) != size) return false;
  const auto bits = parse_int(network.substr(slash + 1));
  if (!bits || *bits < 0 || *bits > static_cast<int64_t>(size * 8)) return false;
  const size_t whole = static_cast<size_t>(*bits) / 8, rest = static_cast<size_t>(*bits) % 8;
  if (memcmp(a, n, whole) != 0) return false;
  return rest == 0 || (a[whole] ^ n[whole]) >> (8 - rest) == 0;
}

bool add_certificates(const std::string& directory, http::TlsOptions& tls) {
  const std::vector<std::string> names = names_in_directory(directory);
  const auto has = [&](const std::string& name) {
    return std::binary_search(names.begin(), names.end(), name);
  };
  bool found = false;
  for (const std::string& name : names) {
    const std::string path = directory + "/" + name;
    if (name.ends_with(".crt")) {
      tls.more_authorities.push_back(path);
      found = true;
    } else if (name.ends_with(".cert")) {
      const std::string key = name.substr(0, name.size() - 5) + ".key";
      if (!has(key))
        throw Error(ErrorCode::kNotFound,
                    fmt::format("client certificate {}: its key {} is missing", path, key))
            .with_hint("a certificate of an authority has to be called *.crt");
      if (tls.certificate.empty()) {
        tls.certificate = path;
        tls.key = directory + "/" + key;
      }
      found = true;
    } else if (name.ends_with(".key") && !has(name.substr(0, name.size() - 4) + ".cert")) {
      throw Error(ErrorCode::kNotFound, fmt::format("client key {}: its certificate {}.cert is missing", path,
                                                    name.substr(0, name.size() - 4)));
    }
  }
  return found;
}

}  // namespace corten::registry
