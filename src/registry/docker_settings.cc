#include "registry/docker_settings.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "http/url.h"
#include "registry/directory_names.h"

namespace corten::registry {

namespace {

constexpr size_t kMaxBytes = 1 << 20;

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
