// The arguments that every Dockerfile has without declaring them before FROM.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dockerfile/ast.h"
#include "oci/platform.h"

namespace corten::dockerfile {

// BUILDPLATFORM and its parts, TARGETPLATFORM and its parts, TARGETSTAGE, in this order; build arguments
// override them. `target` is the stage that was asked for, "" the last. Pure; thread-safe.
std::vector<std::pair<std::string, std::string>> automatic_args(
    const Dockerfile& file, std::string_view target, const oci::Platform& build_platform,
    const oci::Platform& platform, const std::map<std::string, std::string>& build_args);

}  // namespace corten::dockerfile
