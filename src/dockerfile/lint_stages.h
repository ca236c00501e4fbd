// Internal to the room: what the walk of the checks knows of each stage. lint_from.cc reads the FROM lines,
// lint_walk.cc the instructions, lint_outline.cc tells what a target can be given.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "dockerfile/limits.h"
#include "dockerfile/lint_walk.h"
#include "dockerfile/stage_graph.h"
#include "oci/platform.h"

namespace corten::dockerfile {

struct ArgInfo {
  OutlineArg told;
  std::set<std::string> uses;  // other global arguments, in its default
};

using ArgInfos = std::vector<std::pair<std::string, ArgInfo>>;  // in the order of declaration

struct StageWalk {
  std::string image;
  oci::Platform platform;
  OrderedEnvironment environment;
  std::vector<std::string> declared;  // ARGs, those of the base stage too
  std::vector<std::string> triggers;  // ONBUILD, for stages on this one
  bool has_shell = false, has_workdir = false, is_base_known = true;
  std::map<size_t, SourceSpan> last;  // of CMD, ENTRYPOINT, HEALTHCHECK by their place in Command
  std::optional<size_t> base;
  std::vector<std::pair<std::string, ArgInfo>> args;  // declared with a value of their own
  std::set<std::string> used;
  std::vector<OutlineAccess> secrets, ssh;
};

// What stands before the first instruction of any stage.
struct FromLines {
  OrderedEnvironment globals;     // automatic platform arguments and global ARGs
  ArgInfos meta;                  // the global ARGs
  std::vector<StageWalk> stages;  // image, platform, base and what their FROM uses
  std::map<std::string, size_t> by_name;
};

// Reports what FROM lines do wrong; throws Error where the build would.
FromLines read_from_lines(const Dockerfile& file, const LintOptions& options, const oci::Platform& platform,
                          ExpansionBudget& budget, Findings& findings);

// The target's arguments, secrets and agents, with those of every stage that it needs.
void tell_outline(const Dockerfile& file, size_t target, std::vector<StageWalk>& stages,
                  const std::vector<std::vector<StageNeed>>& needs, const ArgInfos& meta, Outline& outline);

}  // namespace corten::dockerfile
