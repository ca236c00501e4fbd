#pragma once

namespace corten::cli {

inline constexpr const char* kVersion = "0.1.0";

}  // namespace corten::cli
