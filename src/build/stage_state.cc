#include "build/stage_state.h"

#include <algorithm>
#include <numeric>

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
  if (is_new) {
    values_.emplace_back(name, value);
    turns_.push_back(0);
  } else {
    values_[place->second].second = value;
  }
  turns_[place->second] = next_turn_++;
}

void StageEnvironment::touch(std::string_view name) {
  if (auto found = places_.find(name); found != places_.end()) turns_[found->second] = next_turn_++;
}

std::vector<size_t> StageEnvironment::order() const {
  std::vector<size_t> places(values_.size());
  std::iota(places.begin(), places.end(), size_t{0});
  std::sort(places.begin(), places.end(), [&](size_t a, size_t b) { return turns_[a] < turns_[b]; });
  return places;
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
