// Packages for tests: what dpkg-deb(1) would wrap.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>

namespace corten::source::debian {

// An archive as ar(1) writes it.
inline std::string ar(const std::vector<std::pair<std::string, std::string>>& members) {
  std::string text = "!<arch>\n";
  for (const auto& [name, content] : members) {
    text += fmt::format("{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n{}", name, 0, 0, 0, "100644", content.size(),
                        content);
    if (content.size() % 2) text += '\n';
  }
  return text;
}

}  // namespace corten::source::debian
