// What a build is handed that must not be seen: secrets and ssh keys.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "build/request.h"

namespace corten::cli {

// --secret id=NAME[,src=FILE|,env=VARIABLE]; section 3.1. Error(kUsage), Error(kNotFound).
std::map<std::string, build::Secret> read_secrets(const std::vector<std::string>& texts);

// --ssh default|ID[=SOCKET|KEYFILE[,KEYFILE...]]; section 3.1. No value: the agent of SSH_AUTH_SOCK.
std::map<std::string, std::shared_ptr<source::SshAgent>> read_ssh(const std::vector<std::string>& texts);

}  // namespace corten::cli
