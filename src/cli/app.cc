#include "cli/app.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <system_error>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/suggest.h"
#include "cli/flags.h"
#include "cli/session.h"

namespace corten::cli {

namespace {

std::string overview(const std::vector<Command>& commands) {
  std::string text =
      "Usage: corten COMMAND [FLAGS] [ARGUMENTS]\n\nBuilds, runs and keeps OCI images: no daemon, no root, "
      "no Docker.\n";
  std::string group;
  for (const Command& command : commands) {
    if (!*command.group) continue;
    if (group != command.group) text += fmt::format("\n{}:\n", group = command.group);
    text += fmt::format("  {:<11} {}\n", command.name, command.summary);
  }
  return text + "\nRun 'corten COMMAND --help' for the flags of a command.\n";
}

int exit_code(const Error& error, std::string_view command) {
  if (error.code() == ErrorCode::kCancelled) return 130;
  if (command == "run" || command == "exec") return 125;
  return error.code() == ErrorCode::kUsage ? 2 : 1;
}

}  // namespace

int run_app(const std::vector<Command>& commands, const std::vector<std::string>& arguments) {
  // A closed pipe is an error of a write, not our death in the middle of one.
  signal(SIGPIPE, SIG_IGN);
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h" || arguments[0] == "help") {
    std::string text = overview(commands);
    fputs(text.c_str(), arguments.empty() ? stderr : stdout);
    return arguments.empty() ? 2 : 0;
  }
  std::string name = arguments[0] == "--version" ? "version" : arguments[0];
  try {
    for (const Command& command : commands)
      if (name == command.name) return command.run({arguments.begin() + 1, arguments.end()});
    std::vector<std::string> names;
    for (const Command& command : commands) names.push_back(command.name);
    throw Error(ErrorCode::kUsage,
                fmt::format("unknown command {}{}", quote(name), did_you_mean(name, names)))
        .with_hint("see 'corten --help'");
  } catch (const HelpWanted& help) {
    fputs(help.text.c_str(), stdout);
    return 0;
  } catch (const Error& error) {
    print_error(error);
    return exit_code(error, name);
  } catch (const std::bad_alloc&) {
    print_error(Error(ErrorCode::kNoSpace, "out of memory"));
    return 1;
  } catch (const std::system_error& error) {
    // The library's word for a thread that cannot be started.
    print_error(Error(ErrorCode::kNoSpace, fmt::format("cannot start a thread: {}", error.what()))
                    .with_hint("the limit of processes may be reached: ulimit -u"));
    return 1;
  } catch (const std::exception& error) {
    print_error(Error(ErrorCode::kInternal, fmt::format("internal error: {}", error.what())));
    return 1;
  }
}

}  // namespace corten::cli
