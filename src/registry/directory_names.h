// What lies in a directory of settings.
#pragma once
#include <string>
#include <vector>

namespace corten::registry {

// Sorted, without hidden ones; none when the directory is missing or may not be read.
std::vector<std::string> names_in_directory(const std::string& directory);

}  // namespace corten::registry
