// Tests that ask other programs (python3, GNU tar) whether they read what we write, and the reverse.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "base/subprocess.h"

// Skips the test, with the reason, when the program is missing; fails it under CORTEN_MUST_RUN=1.
#define CORTEN_NEEDS_PROGRAM(name)                                                       \
  if (corten::find_program(name).empty()) {                                              \
    const char* must_run = getenv("CORTEN_MUST_RUN");                                    \
    if (must_run && std::string(must_run) == "1") FAIL() << name << " is not installed"; \
    GTEST_SKIP() << name << " is not installed";                                         \
  }

namespace corten::archive {

// The program's output; a test failure when it exits with anything but 0.
inline std::string output_of(const std::vector<std::string>& argv, std::string input = {},
                             const std::string& directory = {}) {
  SubprocessResult result =
      run_subprocess(argv, {.input = std::move(input), .environment = {}, .directory = directory});
  EXPECT_EQ(result.exit_code, 0) << result.error_output;
  return result.output;
}

// Gives one byte per read: finds readers that expect more.
template <typename Source>
std::string read_bytewise(Source& from) {
  std::string bytes;
  char c;
  while (from.read(&c, 1) == 1) bytes += c;
  return bytes;
}

}  // namespace corten::archive
