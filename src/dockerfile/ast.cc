#include "dockerfile/ast.h"

#include <iterator>

namespace corten::dockerfile {

std::string Heredoc::chomped_content() const {
  if (!chomp) return content;
  std::string result;
  result.reserve(content.size());
  bool at_start = true;
  for (char c : content) {
    if (at_start && c == '\t') continue;
    result += c;
    at_start = c == '\n';
  }
  return result;
}

const Instruction& instruction_of(const Command& command) {
  return std::visit([](const auto& value) -> const Instruction& { return value; }, command);
}

std::string_view keyword_of(const Command& command) {
  static constexpr std::string_view kKeywords[] = {
      "RUN",    "COPY",   "ADD",  "ENV",     "LABEL",      "ARG",   "CMD",        "ENTRYPOINT", "HEALTHCHECK",
      "EXPOSE", "VOLUME", "USER", "WORKDIR", "STOPSIGNAL", "SHELL", "MAINTAINER", "ONBUILD"};
  static_assert(std::size(kKeywords) == std::variant_size_v<Command>);
  return kKeywords[command.index()];
}

}  // namespace corten::dockerfile
