// What a RUN's heredocs mean. Pure; thread-safe. Source: BuildKit frontend/dockerfile/dockerfile2llb,
// dispatchRun.
#pragma once
#include <string>

#include "dockerfile/ast.h"

namespace corten::dockerfile {

struct RunScript {
  bool is_file = false;  // the body begins with #!: it becomes an executable file, /dev/pipes/<file_name>
  std::string file_name;
  std::string text;     // the file's content, or the text for the shell
  std::string summary;  // for step names: "<<EOF (first line...)", else the command as written
};

// Shell form only. `RUN <<EOF` alone: the body is the script. Anything around the mark: the text with its
// bodies goes to the shell, which reads heredocs itself.
RunScript run_script(const Run& run);

}  // namespace corten::dockerfile
