// `corten build --call=...`: what is asked of a Dockerfile instead of an image.
#pragma once
#include <string>
#include <string_view>

#include "build/request.h"

namespace corten::cli {

struct Call {
  std::string name = "build";  // build, check, outline, targets
  std::string format;          // "", text, json, sarif (check)
  bool ignore_status = false;
};

// `check`, `outline,format=json`, `check,ignorestatus`. Error(kUsage).
Call parse_call(std::string_view text);

// Prints the answer on standard output, an error of the file on standard error; returns the exit code.
// Base images that are not in the store are no error: what depends on them is not said.
int run_call(const Call& call, build::Request request, build::Sources& sources);

}  // namespace corten::cli
