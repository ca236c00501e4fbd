// Logging in and out: the registry is asked first, then a file or a helper remembers.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "http/client.h"
#include "registry/credentials.h"
#include "registry/hosts.h"

namespace corten::registry {

// Asks the registry whether it takes this user and password. What is to be kept: an identity token in place
// of the password where its token server gives one. Error(kPermission) with the registry's own words.
Credential check_login(const Hosts& hosts, const http::ClientOptions& http, const std::string& host,
                       const Credential& credential);

struct SavedLogin {
  std::string place;          // a file, or docker-credential-NAME
  bool is_encrypted = false;  // a helper has it
};

// In the file of --authfile, $REGISTRY_AUTH_FILE, else Docker's config.json, which is made (0600, its
// directory 0700) or rewritten whole with all else in it kept; or with the helper that this file names for
// the host. Two that write at the same time wait for each other.
SavedLogin save_login(const std::string& key, const Credential& credential, const std::string& authfile);
// From the same place. False when there was nothing.
bool remove_login(const std::string& key, const std::string& authfile);

}  // namespace corten::registry
