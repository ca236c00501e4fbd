// What a build is handed that must not be seen: secrets.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "build/request.h"

namespace corten::cli {

// --secret id=NAME[,src=FILE|,env=VARIABLE]; section 3.1. Error(kUsage), Error(kNotFound).
std::map<std::string, build::Secret> read_secrets(const std::vector<std::string>& texts);

}  // namespace corten::cli
