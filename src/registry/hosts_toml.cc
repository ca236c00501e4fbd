#include "registry/hosts_toml.h"

#include <algorithm>

#include "base/error.h"
#include "base/path.h"
#include "base/strings.h"
#include "http/url.h"
#include "registry/toml.h"

namespace corten::registry {

namespace {

class Reader {
 public:
  Reader(const std::string& file, const Endpoint& origin)
      : directory_(HostPath{file}.parent()), origin_(origin) {}

  HostsToml read(const Toml& root) const {
    HostsToml found;
    if (const Toml* hosts = root.find("host"))
      for (const auto& [address, table] : hosts->as_table()) {
        HostsToml::Entry entry;
        entry.endpoint.registry = origin_.registry;
        entry.endpoint.is_mirror = true;
        entry.endpoint.can_push = false;
        entry.endpoint.adds_namespace = true;
        set_address(entry.endpoint, address, table);
        read_settings(entry, table);
        found.mirrors.push_back(std::move(entry));
      }
    HostsToml::Entry server{origin_};
    if (const Toml* address = root.find("server")) set_address(server.endpoint, address->as_string(), root);
    read_settings(server, root);
    found.server = std::move(server);
    return found;
  }

 private:
  void set_address(Endpoint& endpoint, const std::string& address, const Toml& table) const {
    const bool has_scheme = address.find("://") != std::string::npos;
    http::Url url;
    try {
      url = http::parse_url(has_scheme ? address : (is_loopback(address) ? "http://" : "https://") + address);
    } catch (const Error& error) {
      table.refuse(error.message());
    }
    if (url.is_file() || !url.user_info.empty() || url.target.find('?') != std::string::npos)
      table.refuse(fmt::format("host {} is no address of a registry", quote(url.shown())));
    endpoint.scheme = url.scheme;
    endpoint.authority = url.authority() == "docker.io" ? "registry-1.docker.io" : url.authority();
    endpoint.may_be_either_scheme = false;
    std::string path = url.target;
    while (path.ends_with('/')) path.pop_back();
    // "By default, the '/v2' is appended unless override_path is set."
    if (!table.get_bool("override_path") && !path.ends_with("/v2")) path += "/v2";
    endpoint.prefix = path;
  }

  std::string path_of(const std::string& path) const {
    return path.starts_with('/') ? path : directory_ + "/" + path;
  }

  void read_settings(HostsToml::Entry& entry, const Toml& table) const {
    if (const Toml* list = table.find("capabilities")) {
      entry.can_pull = entry.can_resolve = false;
      for (const Toml& member : list->as_array()) {
        const std::string word = to_lower(member.as_string());
        if (word == "pull")
          entry.can_pull = true;
        else if (word == "resolve")
          entry.can_resolve = true;
        else if (word != "push" && word != "referrers")
          member.refuse(fmt::format("unknown capability {}: expected pull, resolve or push", quote(word)));
      }
    }
    http::TlsOptions& tls = entry.endpoint.tls;
    for (const std::string& file : table.get_strings("ca")) tls.more_authorities.push_back(path_of(file));
    if (const Toml* client = table.find("client")) set_client(tls, *client);
    if (table.get_bool("skip_verify")) tls.is_verified = false;
    if (const Toml* fields = table.find("header"))
      for (const auto& [name, value] : fields->as_table())
        for (const std::string& text : fields->get_strings(name)) {
          const bool is_line = text.find_first_of("\r\n") == std::string::npos &&
                               name.find_first_of("\r\n: ") == std::string::npos;
          if (!is_line) value.refuse("this header has more than one line");
          entry.endpoint.fields.emplace_back(name, text);
        }
  }

  // "cert.pem" (with the key in it), ["cert.pem"], or [["cert.pem", "key.pem"]]: the first one counts.
  void set_client(http::TlsOptions& tls, const Toml& client) const {
    const Toml* first = &client;
    if (first->is_array()) {
      if (first->as_array().empty()) return;
      first = &first->as_array()[0];
    }
    if (first->is_string()) {
      tls.certificate = path_of(first->as_string());
      return;
    }
    const Toml::Array& pair = first->as_array();
    if (pair.empty() || pair.size() > 2) first->refuse("a certificate and its key are expected");
    tls.certificate = path_of(pair[0].as_string());
    if (pair.size() == 2 && !pair[1].as_string().empty()) tls.key = path_of(pair[1].as_string());
  }

  std::string directory_;
  const Endpoint& origin_;
};

}  // namespace

HostsToml parse_hosts_toml(std::string_view text, const std::string& file, const Endpoint& origin) {
  return Reader(file, origin).read(Toml::parse(text, file));
}

}  // namespace corten::registry
