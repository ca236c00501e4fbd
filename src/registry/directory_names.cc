#include "registry/directory_names.h"

#include <dirent.h>

#include <algorithm>
#include <memory>

namespace corten::registry {

std::vector<std::string> names_in_directory(const std::string& directory) {
  std::vector<std::string> names;
  std::unique_ptr<DIR, int (*)(DIR*)> stream(opendir(directory.c_str()), closedir);
  if (!stream) return names;
  while (const dirent* entry = readdir(stream.get()))
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace corten::registry
