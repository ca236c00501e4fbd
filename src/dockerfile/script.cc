#include "dockerfile/script.h"

#include "base/strings.h"
#include "dockerfile/heredoc.h"

namespace corten::dockerfile {

namespace {

// The first line that says something, cut short.
std::string summarise(const Heredoc& heredoc, const std::string& mark, const std::string& body) {
  constexpr size_t kLongestLine = 60;
  std::vector<std::string> lines;
  for (const std::string& line : split(body, '\n'))
    if (!trim(line).empty()) lines.emplace_back(trim(line));
  if (lines.empty()) return mark;
  std::string first = lines[0];
  bool is_cut = lines.size() > 1;
  if (first.size() > kLongestLine) {
    size_t end = kLongestLine;
    while (end > 0 && (static_cast<unsigned char>(first[end]) & 0xC0) == 0x80) end--;
    first.resize(end);
    is_cut = true;
  }
  return fmt::format("<<{} ({}{})", heredoc.name, first, is_cut ? "..." : "");
}

}  // namespace

RunScript run_script(const Run& run) {
  RunScript script;
  const std::string& text = run.command.args.at(0);
  script.text = text;
  script.summary = text;
  if (run.heredocs.empty()) return script;
  const Heredoc& first = run.heredocs[0];
  std::optional<Heredoc> mark;
  try {
    mark = parse_heredoc_mark(text);
  } catch (const Error&) {
    mark.reset();
  }
  if (!mark) {
    for (const Heredoc& heredoc : run.heredocs) script.text += "\n" + heredoc.content + heredoc.name;
    return script;
  }
  std::string body = first.chomped_content();
  script.is_file = body.substr(0, 2) == "#!";
  script.file_name = script.is_file ? first.name : "";
  script.summary = summarise(first, text, body);
  script.text = std::move(body);
  return script;
}

}  // namespace corten::dockerfile
