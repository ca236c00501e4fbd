// --ulimit NAME=SOFT[:HARD], as Docker reads it.
#pragma once
#include <string_view>

#include "sandbox/spec.h"

namespace corten::sandbox {

// Error(kInvalid) `invalid ulimit type: x` and its like. -1 is unlimited.
ResourceLimit parse_ulimit(std::string_view text);

}  // namespace corten::sandbox
