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

// Parses; throws HelpWanted or Error(kUsage). Flags may stand after operands. Docker's manners:
// `--flag=value`, `-t value`, `-tvalue`.
inline void parse_flags(CLI::App& app, const Arguments& arguments) {
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    throw HelpWanted{app.help()};
  } catch (const CLI::ParseError& error) {
    throw Error(ErrorCode::kUsage, error.what()).with_hint("see 'corten " + app.get_name() + " --help'");
  }
}

}  // namespace corten::cli
