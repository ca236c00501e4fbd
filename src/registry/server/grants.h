// What a request may do.
#pragma once
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace corten::registry::serving {

struct Grant {
  std::string type = "repository";  // or "registry" (its list of repositories: name "catalog")
  std::string name;
  std::vector<std::string> actions;  // "pull", "push", "delete", "*"
};

struct Grants {
  bool everything = false;
  bool reading = false;  // of every repository
  std::vector<Grant> some;

  bool allow(std::string_view type, std::string_view name, std::string_view action) const {
    if (everything || (reading && action == "pull")) return true;
    return std::any_of(some.begin(), some.end(), [&](const Grant& grant) {
      return grant.type == type && grant.name == name &&
             std::any_of(grant.actions.begin(), grant.actions.end(),
                         [&](const std::string& given) { return given == "*" || given == action; });
    });
  }
};

}  // namespace corten::registry::serving
