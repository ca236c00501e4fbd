#include "cli/platforms.h"

#include <stdlib.h>

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"

namespace corten::cli {

std::vector<oci::Platform> parse_platforms(const std::vector<std::string>& lists) {
  std::vector<std::string> texts;
  for (const std::string& list : lists)
    for (const std::string& text : split(list, ','))
      if (std::string_view word = trim(text); !word.empty()) texts.emplace_back(word);
  if (const char* usual = getenv("DOCKER_DEFAULT_PLATFORM"); texts.empty() && usual && *usual)
    for (const std::string& text : split(usual, ',')) texts.emplace_back(trim(text));
  std::vector<oci::Platform> platforms;
  for (const std::string& text : texts) {
    oci::Platform platform;
    try {
      platform = text == "local" ? oci::host_platform() : oci::parse_platform(text).normalized();
    } catch (const Error& error) {
      fail(ErrorCode::kUsage, "--platform: {}", error.message());
    }
    if (platform.os == "windows")
      fail(ErrorCode::kUnsupported, "--platform {}: images for Windows are not built", platform.format());
    if (std::find(platforms.begin(), platforms.end(), platform) == platforms.end())
      platforms.push_back(platform);
  }
  return platforms;
}

std::vector<std::string> foreign_architectures(const std::vector<oci::Platform>& platforms) {
  std::vector<std::string> names;
  for (const oci::Platform& platform : platforms)
    if (platform.architecture != oci::host_platform().architecture &&
        std::find(names.begin(), names.end(), platform.architecture) == names.end())
      names.push_back(platform.architecture);
  return names;
}

}  // namespace corten::cli
