// Where credential files lie on this machine.
#pragma once
#include <string>
#include <vector>

#include "registry/credentials.h"

namespace corten::registry {

struct FoundFiles {
  std::vector<CredentialFile> files;  // in the order of looking
  std::vector<std::string> notes;     // why one gave nothing
};

// See credentials.h. Error(kNotFound) when `authfile` is named and missing.
FoundFiles read_credential_files(const std::string& authfile);

// The file that login and logout write: `authfile`, $REGISTRY_AUTH_FILE, else Docker's config.json.
std::string writable_credential_file(const std::string& authfile);

}  // namespace corten::registry
