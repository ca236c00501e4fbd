// The store's folders of things named by digest: ab/abcd...
#pragma once
#include <functional>
#include <string>
#include <vector>

namespace corten::store {

// In dirs/: a body that is being removed. No shelf, and no name that is looked for.
inline constexpr const char* kGoing = ".going";

// Names without a dot in front; none when the directory is missing.
std::vector<std::string> names_in(const std::string& directory);
void for_each_named(const std::string& directory,
                    const std::function<void(const std::string& path, const std::string& name)>& visit);

}  // namespace corten::store
