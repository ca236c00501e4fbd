#include "build/stage_state.h"

#include <algorithm>

#include "base/strings.h"

namespace corten::build {

bool is_predefined_proxy(std::string_view name) {
  static const std::vector<std::string> kNames = {"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY",
                                                  "ALL_PROXY"};
  return std::find(kNames.begin(), kNames.end(), to_upper(name)) != kNames.end();
}

std::optional<std::string> StageEnvironment::get(std::string_view name) const {
  auto found = places_.find(name);
  return found == places_.end() ? std::nullopt : std::optional(values_[found->second].second);
}

void StageEnvironment::set(const std::string& name, const std::string& value) {
  auto [place, is_new] = places_.emplace(name, values_.size());
  if (is_new)
    values_.emplace_back(name, value);
  else
    values_[place->second].second = value;
}

void StageEnvironment::declare_arg(const std::string& name, const std::optional<std::string>& value) {
  if (declared_.insert(name).second) args_.push_back(name);
  if (value) set(name, *value);
}

bool StageEnvironment::is_declared(std::string_view name) const {
  return declared_.contains(name);
}

std::vector<std::string> StageEnvironment::list() const {
  std::vector<std::string> entries;
  for (const auto& [name, value] : values_) entries.push_back(name + "=" + value);
  return entries;
}

std::vector<std::string> StageEnvironment::args() const {
  std::vector<std::string> entries;
  for (const std::string& name : args_) entries.push_back(name + "=" + get(name).value_or(""));
  return entries;
}

}  // namespace corten::build
