// corten build --on acr:REGISTRY: the same command line, built in Azure.
#pragma once
#include "cli/build_flags.h"

namespace corten::cli {

// Error(kUnsupported) for flags that mean nothing there; exit code 1 when the build fails.
int build_elsewhere(const BuildFlags& flags);

}  // namespace corten::cli
