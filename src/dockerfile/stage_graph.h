// Which stage needs which, from the syntax alone. Pure; thread-safe. Nothing here recurses: a file may have
// many thousands of stages.
//
// Source: BuildKit frontend/dockerfile/dockerfile2llb/convert.go (buildStageDependencyGraph) as measured.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dockerfile/ast.h"

namespace corten::dockerfile {

struct StageNeed {
  size_t stage;
  const Instruction* at;  // the COPY or RUN that names it; null: FROM
};

// What each stage stands on and copies or mounts from. `bases` are the stages that FROM names, `by_name` the
// last stage of each name: it counts wherever it stands.
std::vector<std::vector<StageNeed>> stage_needs(const Dockerfile& file,
                                                const std::vector<std::optional<size_t>>& bases,
                                                const std::map<std::string, size_t>& by_name);

// Throws Error(kInvalid) `circular dependency detected on stage: x`.
void refuse_circles(const Dockerfile& file, const std::vector<std::vector<StageNeed>>& needs);

// Sets `wanted` for the target and all that it needs.
void mark_needed(const std::vector<std::vector<StageNeed>>& needs, size_t target, std::vector<bool>& wanted);

}  // namespace corten::dockerfile
