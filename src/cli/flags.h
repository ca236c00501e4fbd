// Flags of a command, parsed by CLI11 behind a small face so that its header is seen by few files.
#pragma once
#include <CLI/CLI.hpp>

#include <string>

#include "base/error.h"
#include "cli/app.h"

namespace corten::cli {

// Thrown for --help: the text goes to standard output, the exit code is 0.
struct HelpWanted {
  std::string text;
};

// `--target=` gives an empty value, as scripts with an unset variable have it; CLI11 would take the next
// word. Words of a command that is run elsewhere stay as they are.
inline Arguments with_empty_values(const CLI::App& app, const Arguments& arguments) {
  Arguments words;
  for (size_t i = 0; i < arguments.size(); i++) {
    const std::string& word = arguments[i];
    bool may_be = word.starts_with("--") && word.find('=') == word.size() - 1 && !app.get_prefix_command();
    const CLI::Option* option = may_be ? app.get_option_no_throw(word.substr(0, word.size() - 1)) : nullptr;
    words.push_back(option ? word.substr(0, word.size() - 1) : word);
    if (option) words.emplace_back();
    if (word != "--") continue;
    words.insert(words.end(), arguments.begin() + static_cast<ptrdiff_t>(i) + 1, arguments.end());
    break;
  }
  return words;
}

// Parses; throws HelpWanted or Error(kUsage). Flags may stand after operands. Docker's manners:
// `--flag=value`, `-t value`, `-tvalue`.
inline void parse_flags(CLI::App& app, const Arguments& arguments) {
  // Of a flag that is given twice the last counts, as with Docker.
  for (CLI::Option* option : app.get_options())
    if (!option->get_positional() && option->get_items_expected_max() == 1) option->take_last();
  Arguments words = with_empty_values(app, arguments);
  std::vector<std::string> reversed(words.rbegin(), words.rend());
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    throw HelpWanted{app.help()};
  } catch (const CLI::ParseError& error) {
    throw Error(ErrorCode::kUsage, error.what()).with_hint("see 'corten " + app.get_name() + " --help'");
  }
}

}  // namespace corten::cli
