// What every command has in common: its name in the table, its flags, its errors.
#pragma once
#include <functional>
#include <string>
#include <vector>

namespace corten::cli {

// The words after the command's name.
using Arguments = std::vector<std::string>;

struct Command {
  const char* name;
  const char* summary;  // for the overview
  int (*run)(const Arguments& arguments);
  const char* group = "";  // heading in the overview; "" hides it
};

// Finds the command, runs it, turns its Error into words on standard error and an exit code: 1, 2 for wrong
// usage, 130 for Ctrl-C, 125 for `run` and `exec`.
int run_app(const std::vector<Command>& commands, const std::vector<std::string>& arguments);

}  // namespace corten::cli
