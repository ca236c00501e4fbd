#include "dockerfile/automatic_args.h"

namespace corten::dockerfile {

std::vector<std::pair<std::string, std::string>> automatic_args(
    const Dockerfile& file, std::string_view target, const oci::Platform& build_platform,
    const oci::Platform& platform, const std::map<std::string, std::string>& build_args) {
  std::vector<std::pair<std::string, std::string>> args;
  auto add = [&](const std::string& name, const std::string& value) {
    auto given = build_args.find(name);
    args.emplace_back(name, given == build_args.end() ? value : given->second);
  };
  auto add_platform = [&](const std::string& prefix, const oci::Platform& one) {
    add(prefix + "PLATFORM", one.format());
    add(prefix + "OS", one.os);
    add(prefix + "OSVERSION", one.os_version);
    add(prefix + "ARCH", one.architecture);
    add(prefix + "VARIANT", one.variant);
  };
  add_platform("BUILD", build_platform);
  add_platform("TARGET", platform);
  std::string stage(target);
  if (stage.empty()) stage = file.stages.back().from.name ? file.stages.back().from.name->text : "default";
  add("TARGETSTAGE", stage);
  return args;
}

}  // namespace corten::dockerfile
