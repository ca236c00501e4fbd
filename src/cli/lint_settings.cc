#include "cli/lint_settings.h"

#include <yaml-cpp/yaml.h>

#include "base/error.h"

namespace corten::cli {

namespace {

std::vector<std::string> strings_of(const YAML::Node& node) {
  std::vector<std::string> list;
  for (const YAML::Node& item : node) list.push_back(item.as<std::string>());
  return list;
}

}  // namespace

void read_lint_settings(const std::string& text, const std::string& file, LintSettings& settings) {
  try {
    YAML::Node root = YAML::Load(text);
    for (const std::string& rule : strings_of(root["ignored"])) settings.ignored.insert(rule);
    for (report::Level level :
         {report::Level::kError, report::Level::kWarning, report::Level::kInfo, report::Level::kStyle})
      for (const std::string& rule : strings_of(root["override"][std::string(report::level_name(level))]))
        settings.levels[rule] = level;
    for (const std::string& registry : strings_of(root["trustedRegistries"]))
      settings.trusted_registries.push_back(registry);
    if (root["failure-threshold"]) settings.threshold = root["failure-threshold"].as<std::string>();
    if (root["format"]) settings.format = root["format"].as<std::string>();
    if (root["no-fail"]) settings.no_fail = root["no-fail"].as<bool>();
  } catch (const YAML::Exception& error) {
    fail(ErrorCode::kInvalid, "{}:{}: {}", file, error.mark.line + 1, error.msg);
  }
}

}  // namespace corten::cli
