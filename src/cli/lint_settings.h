// What `corten lint` is told by a file of hadolint's.
#pragma once
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "report/findings.h"

namespace corten::cli {

struct LintSettings {
  std::set<std::string> ignored;
  std::map<std::string, report::Level> levels;  // override
  std::vector<std::string> trusted_registries;
  std::string threshold = "info";
  std::string format = "tty";
  bool no_fail = false;
};

// hadolint's YAML: ignored, override, trustedRegistries, failure-threshold, format, no-fail. Error(kInvalid)
// with file and line.
void read_lint_settings(const std::string& text, const std::string& file, LintSettings& settings);

}  // namespace corten::cli
