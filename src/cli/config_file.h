// $XDG_CONFIG_HOME/corten/config.yaml, else ~/.config/corten/config.yaml, else /etc/corten/config.yaml.
#pragma once
#include <optional>
#include <string>

namespace corten::cli {

struct ConfigFile {
  std::string path;      // "" when there is none
  std::string store;     // store:
  std::string progress;  // progress:
  std::string max_size;  // max-size:
  std::string min_free;  // min-free:
};

// Error(kInvalid) with the line for a file that is no YAML map or has a key that we do not know.
ConfigFile read_config_file();

}  // namespace corten::cli
