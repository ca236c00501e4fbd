// Helper programs: started with an argument list (no shell), waited for, their output kept.
#pragma once
#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

namespace corten {

struct SubprocessOptions {
  std::string input;                               // given on standard input
  std::map<std::string, std::string> environment;  // added to ours
  std::string directory;                           // working directory; "": ours
  size_t max_output_bytes = 256 << 20;
};

struct SubprocessResult {
  int exit_code = 0;  // 128 + N when signal N killed it
  std::string output;
  std::string error_output;
};

// Looks argv[0] up in PATH. Throws Error(kNotFound) when the program is missing; an exit code is a result,
// not an error.
SubprocessResult run_subprocess(const std::vector<std::string>& argv, const SubprocessOptions& options = {});

// A helper program in libexec/corten beside our binary (or in its directory, for a build tree). Throws
// Error(kNotFound) that names the place.
std::string helper_program(const std::string& name);

// Where PATH has it; "" when nowhere.
std::string find_program(const std::string& name);

}  // namespace corten
