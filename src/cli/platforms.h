// --platform as commands take it.
#pragma once
#include <string>
#include <vector>

#include "oci/platform.h"

namespace corten::cli {

// Lists with commas, `local` for this machine; normalised, none twice, in the order of their first mention.
// Without any, DOCKER_DEFAULT_PLATFORM when it is set. Error(kUsage) for what is no platform of Linux.
std::vector<oci::Platform> parse_platforms(const std::vector<std::string>& lists);

// Those of other processors than ours, each once: for sandbox::enter_for().
std::vector<std::string> foreign_architectures(const std::vector<oci::Platform>& platforms);

}  // namespace corten::cli
