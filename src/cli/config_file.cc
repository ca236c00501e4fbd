#include "cli/config_file.h"

#include <stdlib.h>

#include <yaml-cpp/yaml.h>

#include <fmt/core.h>

#include <vector>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/suggest.h"
#include "base/unique_fd.h"

namespace corten::cli {

static std::string find_config() {
  auto variable = [](const char* name) {
    const char* value = getenv(name);
    return std::string(value ? value : "");
  };
  std::vector<std::string> places;
  if (std::string config = variable("XDG_CONFIG_HOME"); config.starts_with('/'))
    places.push_back(config + "/corten/config.yaml");
  else if (std::string home = variable("HOME"); !home.empty())
    places.push_back(home + "/.config/corten/config.yaml");
  places.push_back("/etc/corten/config.yaml");
  for (const std::string& place : places)
    if (path_exists(place)) return place;
  return "";
}

ConfigFile read_config_file() {
  ConfigFile config;
  config.path = find_config();
  if (config.path.empty()) return config;
  std::string text = read_file(config.path, 1 << 20);
  try {
    YAML::Node root = YAML::Load(text);
    if (root.IsNull()) return config;
    if (!root.IsMap()) fail(ErrorCode::kInvalid, "{}: expected a map of settings", config.path);
    for (const auto& member : root) {
      std::string key = member.first.as<std::string>();
      if (key == "store")
        config.store = member.second.as<std::string>();
      else if (key == "progress")
        config.progress = member.second.as<std::string>();
      else if (key == "max-size")
        config.max_size = member.second.as<std::string>();
      else if (key == "min-free")
        config.min_free = member.second.as<std::string>();
      else {
        const std::vector<std::string> kKeys = {"store", "progress", "max-size", "min-free"};
        throw Error(ErrorCode::kInvalid,
                    fmt::format("{}:{}: unknown setting {}{}", config.path, member.first.Mark().line + 1,
                                quote(key), did_you_mean(key, kKeys)));
      }
    }
  } catch (const YAML::Exception& error) {
    fail(ErrorCode::kInvalid, "{}:{}: {}", config.path, error.mark.line + 1, error.msg);
  }
  return config;
}

}  // namespace corten::cli
