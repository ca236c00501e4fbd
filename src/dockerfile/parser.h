// Text to lines to nodes: the first of the two passes over a Dockerfile. It joins continuation lines, drops
// comments, splits flags from arguments, reads exec-form JSON and heredoc bodies, and knows of each
// instruction only how its arguments are split. The second pass (instructions.h) gives them meaning.
//
// A logical line is put together from several lines of the file, so every offset in it is mapped back: the
// spans of words are places in the file.
//
// Source: Dockerfile reference "Format", "Escape", "Here-Documents"; BuildKit frontend/dockerfile/parser as
// measured.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "dockerfile/ast.h"

namespace corten::dockerfile {

struct Node {
  std::string keyword;      // as written
  std::string command;      // in lower case
  std::vector<Word> flags;  // "--name=value", quotes removed
  std::vector<Word> args;   // ENV and LABEL: key, value, separator ("=" or "") in turn
  bool is_json = false;     // args came from a JSON array
  std::vector<Heredoc> heredocs;
  std::vector<Node> trigger;  // ONBUILD's inner node, at most one
  std::string original;       // the logical line
  SourceSpan span;
  SourceSpan keyword_span;
  std::vector<std::string> comments;

  // As BuildKit's parser tests print it: `cmd ["--flag"] "arg" "arg"`, without the outer parentheses.
  std::string dump() const;
};

struct ParsedLines {
  Directives directives;
  std::vector<Node> nodes;
  std::vector<Diagnostic> warnings;
};

// Throws Error(kInvalid) with a span. A line may have 65535 bytes. The file name only goes into spans.
ParsedLines parse_lines(std::string_view text, std::string_view file_name);

}  // namespace corten::dockerfile
