// What makes an image a bad one to ship although it builds: moving bases, root at run time, secrets, package
// caches left behind, no health check. Rules that hadolint has bear its ids and words, so that its ignore
// comments and configuration mean the same here; ours are CT1001 and up.
//
// Sources: hadolint's rules DL3xxx as documented; docs/user-guide.md, "Lint", lists all of them.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "dockerfile/ast.h"

namespace corten::dockerfile {

enum class Severity { kError, kWarning, kInfo };

struct ProductionFinding {
  std::string rule;
  Severity severity;
  std::string message;
  SourceSpan span;
};

struct ProductionOptions {
  std::vector<std::string> trusted_registries;  // empty: all; may begin with "*."
  bool has_ignore_file = true;                  // beside the Dockerfile or in its directory
};

// In the order of the file. `# hadolint ignore=RULE,...` right above an instruction and
// `# hadolint global ignore=RULE,...` anywhere in `text` are obeyed.
std::vector<ProductionFinding> check_for_production(const Dockerfile& file, std::string_view text,
                                                    const ProductionOptions& options);

}  // namespace corten::dockerfile
