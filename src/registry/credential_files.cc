#include "registry/credential_files.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/beneath.h"
#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::registry {

namespace {

constexpr size_t kMaxFileBytes = 4 << 20;

std::string variable(const char* name) {
  const char* value = getenv(name);
  return value ? value : "";
}

std::string docker_config() {
  if (std::string directory = variable("DOCKER_CONFIG"); !directory.empty())
    return directory + "/config.json";
  const std::string home = variable("HOME");
  return home.empty() ? "" : home + "/.docker/config.json";
}

std::vector<std::string> places() {
  std::vector<std::string> all = {docker_config()};
  if (std::string runtime = variable("XDG_RUNTIME_DIR"); !runtime.empty())
    all.push_back(runtime + "/containers/auth.json");
  all.push_back("/run/containers/" + std::to_string(getuid()) + "/auth.json");
  const std::string home = variable("HOME"), config = variable("XDG_CONFIG_HOME");
  if (!config.empty())
    all.push_back(config + "/containers/auth.json");
  else if (!home.empty())
    all.push_back(home + "/.config/containers/auth.json");
  if (!home.empty()) all.push_back(home + "/.dockercfg");
  std::erase(all, "");
  return all;
}

// The job's own registry, as GitLab CI names it.
void add_gitlab(std::vector<CredentialFile>& files) {
  const std::string host = variable("CI_REGISTRY"), user = variable("CI_REGISTRY_USER"),
                    password = variable("CI_REGISTRY_PASSWORD");
  if (host.empty() || user.empty() || password.empty()) return;
  CredentialFile file;
  file.path = "$CI_REGISTRY_USER";
  file.auths.push_back({credential_key(host), {user, password, "", "", file.path}});
  files.push_back(std::move(file));
}

}  // namespace

FoundFiles read_credential_files(const std::string& authfile) {
  FoundFiles found;
  const std::string named = authfile.empty() ? variable("REGISTRY_AUTH_FILE") : authfile;
  if (!named.empty()) {
    if (!path_exists(named))
      throw Error(ErrorCode::kNotFound, fmt::format("credential file {}: no such file", named))
          .with_hint("it was named by --authfile or REGISTRY_AUTH_FILE; 'corten login --authfile' makes one");
    found.files.push_back(parse_credential_file(read_file(named, kMaxFileBytes), named));
    return found;
  }
  if (std::string text = variable("DOCKER_AUTH_CONFIG"); !text.empty())
    found.files.push_back(parse_credential_file(text, "$DOCKER_AUTH_CONFIG"));
  for (const std::string& path : places()) {
    std::string text;
    try {
      text = read_file(path, kMaxFileBytes);
    } catch (const Error& error) {
      if (error.system_errno() != ENOENT && error.system_errno() != ENOTDIR && error.system_errno() != EACCES)
        throw;
      found.notes.push_back(error.what());
      continue;
    }
    found.files.push_back(parse_credential_file(text, path));
  }
  add_gitlab(found.files);
  return found;
}

std::string writable_credential_file(const std::string& authfile) {
  std::string named = authfile.empty() ? variable("REGISTRY_AUTH_FILE") : authfile;
  if (!named.empty()) return named;
  std::string file = docker_config();
  if (file.empty())
    throw Error(ErrorCode::kNotFound, "no place for credentials: HOME is not set")
        .with_hint("name a file: --authfile FILE");
  return file;
}

}  // namespace corten::registry
