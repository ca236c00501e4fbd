// `# syntax=`, `# escape=` and `# check=` at the head of a file.
//
// Source: Dockerfile reference "Parser directives"; BuildKit frontend/dockerfile/parser/directives.go as
// measured.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "dockerfile/ast.h"

namespace corten::dockerfile {

// Fed the lines of a file one by one; the first that is no known directive ends it for good.
class DirectiveParser {
 public:
  // `line` has no blanks in front and no line end. Throws Error(kInvalid) with the span for a second
  // directive of one name and for an escape character that is none.
  // Says whether the line is a directive.
  bool add_line(std::string_view line, const SourceSpan& place);
  const Directives& directives() const { return directives_; }

 private:
  Directives directives_;
  bool done_ = false;
  bool has_escape_ = false;
};

// The image reference in a syntax directive: its value up to the first blank.
std::string_view syntax_image(std::string_view value);

// What `# check=` (or the build argument BUILDKIT_DOCKERFILE_CHECK) asks of the linter.
struct CheckOptions {
  std::vector<std::string> skip;          // rule names
  std::vector<std::string> experimental;  // rule names
  bool skip_all = false;
  bool experimental_all = false;
  bool is_error = false;  // findings fail the build
};

// `skip=RuleA,RuleB;error=true`; nothing for a blank text. Throws Error(kInvalid).
CheckOptions parse_check_options(std::string_view value);

}  // namespace corten::dockerfile
