// Helper programs: started with an argument list (no shell), waited for, their output kept.
#pragma once
#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

namespace corten {

class Cancellation;

struct SubprocessOptions {
  std::string input;                               // given on standard input
  std::map<std::string, std::string> environment;  // added to ours
  bool inherits_environment = true;                // false: `environment` is all that it has
  std::string directory;                           // working directory; "": ours
  size_t max_output_bytes = 256 << 20;
  uint64_t max_file_bytes = 0;  // no file that it writes grows beyond this (RLIMIT_FSIZE); 0: our own limit
  int silence_ms = 0;           // Error(kIo) when it says nothing for so long; 0: it may
  int limit_ms = 0;             // Error(kIo) when it has not ended after so long, whatever it says; 0: it may
  const Cancellation* cancellation = nullptr;  // Error(kCancelled) once it is cancelled
};

struct SubprocessResult {
  int exit_code = 0;  // 128 + N when signal N killed it
  std::string output;
  std::string error_output;
};

// Looks argv[0] up in PATH. Throws Error(kNotFound) when the program is missing; an exit code is a result,
// not an error. Who can be cancelled, be silent or go on for too long leads a process group of its own, which
// is asked to end then (SIGTERM), and killed two seconds later.
SubprocessResult run_subprocess(const std::vector<std::string>& argv, const SubprocessOptions& options = {});

// A helper program in libexec/corten beside our binary (or in its directory, for a build tree). Throws
// Error(kNotFound) that names the place.
std::string helper_program(const std::string& name);

// Where PATH has it; "" when nowhere.
std::string find_program(const std::string& name);

}  // namespace corten
