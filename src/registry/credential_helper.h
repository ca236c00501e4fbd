// Programs that keep credentials: docker-credential-NAME with get, store, erase on standard input and output.
#pragma once
#include <optional>
#include <string>

#include "registry/credentials.h"

namespace corten::registry {

// Nothing when the helper has none for this server. Error(kNotFound) when there is no such program,
// Error(kPermission) with its words when it fails otherwise.
std::optional<Credential> helper_get(const std::string& name, const std::string& server);
void helper_store(const std::string& name, const std::string& server, const Credential& credential);
void helper_erase(const std::string& name, const std::string& server);

}  // namespace corten::registry
