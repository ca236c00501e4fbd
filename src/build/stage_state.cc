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
  for (const auto& [key, value] : values_)
    if (key == name) return value;
  return std::nullopt;
}

void StageEnvironment::set(const std::string& name, const std::string& value) {
  for (auto& [key, old] : values_)
    if (key == name) {
      old = value;
      return;
    }
  values_.emplace_back(name, value);
}

void StageEnvironment::declare_arg(const std::string& name, const std::optional<std::string>& value) {
  if (!is_declared(name)) args_.push_back(name);
  if (value) set(name, *value);
}

bool StageEnvironment::is_declared(std::string_view name) const {
  return std::find(args_.begin(), args_.end(), name) != args_.end();
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

std::map<std::string, std::string> automatic_args(const Request& request, const oci::Platform& platform,
                                                  const std::string& target_name) {
  std::map<std::string, std::string> args;
  auto add = [&](const std::string& prefix, const oci::Platform& one) {
    args[prefix + "PLATFORM"] = one.format();
    args[prefix + "OS"] = one.os;
    args[prefix + "OSVERSION"] = one.os_version;
    args[prefix + "ARCH"] = one.architecture;
    args[prefix + "VARIANT"] = one.variant;
  };
  add("BUILD", request.build_platform);
  add("TARGET", platform);
  args["TARGETSTAGE"] = target_name;
  for (auto& [name, value] : args)
    if (auto given = request.build_args.find(name); given != request.build_args.end()) value = given->second;
  return args;
}

}  // namespace corten::build
