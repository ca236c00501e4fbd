// Who we are to a registry: Docker's config.json, containers' auth.json, credential helpers, variables of CI.
//
// Where is looked, the first find counts (registry/credential_files.cc):
//   what the program was given itself (add()),
//   --authfile or $REGISTRY_AUTH_FILE: this file and no other, else
//   $DOCKER_AUTH_CONFIG (the text of a config.json), $DOCKER_CONFIG/config.json or ~/.docker/config.json,
//   $XDG_RUNTIME_DIR/containers/auth.json, /run/containers/UID/auth.json,
//   $XDG_CONFIG_HOME/containers/auth.json,
//   ~/.dockercfg, then GitLab's $CI_REGISTRY_USER for $CI_REGISTRY, then providers (add_provider()).
// In a file: credHelpers of that host, credsStore, auths; of several keys of auths the longest path that the
// repository begins with (containers-auth.json(5)).
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace corten::registry {

struct Credential {
  std::string user, password;
  std::string identity_token;  // OAuth2: a refresh token
  std::string registry_token;  // sent as it is
  std::string source;          // who gave it: "/root/.docker/config.json", "docker-credential-pass"
  bool is_anonymous() const { return password.empty() && identity_token.empty() && registry_token.empty(); }
};

// One config.json or auth.json.
struct CredentialFile {
  std::string path;                                          // or the variable it came from
  std::vector<std::pair<std::string, Credential>> auths;     // by normal key: "host", "host/path"
  std::vector<std::pair<std::string, std::string>> helpers;  // credHelpers: host to name
  std::string store;                                         // credsStore
  std::vector<std::pair<std::string, std::string>>
      request_fields;  // of HttpHeaders those that registries get
};

// Error(kInvalid) with file and line, never with anything of the contents.
CredentialFile parse_credential_file(std::string_view text, const std::string& path);

// "docker.io" for all its names, without scheme, /v1/ and /v2/; in lower case up to the first slash.
std::string credential_key(std::string_view written);
// What Docker calls that host in its file and to helpers: https://index.docker.io/v1/, else the host.
std::string stored_key(const std::string& host);

// Thread-safe; copies share what was found.
class Credentials {
 public:
  using Provider =
      std::function<std::optional<Credential>(const std::string& host, const std::string& repository)>;

  Credentials();  // none
  // Reads the files. Error(kInvalid) for a malformed one; one that may not be read is passed over, with a
  // note.
  static Credentials from_system(const std::string& authfile = {});
  static Credentials from_files(std::vector<CredentialFile> files);

  // For this host ("host:port"), before all files.
  void add(const std::string& host, Credential credential);
  // Asked after all files.
  void add_provider(Provider provider);

  // Anonymous when there is none. Error(kPermission) when the helper of that host fails. A helper runs once
  // for each host.
  Credential find(const std::string& host, const std::string& repository) const;

  // Fields for every request to a registry: X-Meta-* of HttpHeaders, which Docker passes on.
  std::vector<std::pair<std::string, std::string>> request_fields() const;
  // Where was looked and why nothing was found, a line each; for error messages.
  std::vector<std::string> search_notes(const std::string& host) const;

 private:
  struct Shared;
  std::optional<Credential> in_file(const CredentialFile& file, const std::string& host,
                                    const std::string& repository) const;
  std::optional<Credential> from_helper(const std::string& name, const std::string& host,
                                        bool must_work) const;
  std::shared_ptr<Shared> shared_;
};

}  // namespace corten::registry
