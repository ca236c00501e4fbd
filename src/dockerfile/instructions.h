// A Dockerfile's text to its syntax tree: the second pass, which gives the nodes of parser.h their meaning.
//
// Source: Dockerfile reference 1.20; BuildKit frontend/dockerfile/instructions/parse.go as measured, error
// texts included.
#pragma once
#include <string>
#include <string_view>

#include "dockerfile/ast.h"

namespace corten::dockerfile {

// Throws Error(kInvalid) with a span and, for errors within an instruction, with the line in the text as
// BuildKit prints it: `dockerfile parse error on line 3: unknown instruction: RNU (did you mean RUN?)`. The
// file name only goes into spans. Pure; thread-safe.
Dockerfile parse_dockerfile(std::string_view text, std::string_view file_name);

// The same, with what was read until the error.
PartialDockerfile parse_dockerfile_until_error(std::string_view text, std::string_view file_name);

// One instruction that is no FROM: an ONBUILD trigger from an image's config, heredoc bodies included.
// Throws Error(kInvalid); spans count from the trigger's first line.
Command parse_instruction(std::string_view text, std::string_view origin);

}  // namespace corten::dockerfile
