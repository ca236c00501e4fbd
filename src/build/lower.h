// From the syntax tree to the plan: stages are followed from the target, variables are expanded, configs are
// computed. Internal to the room: lower.cc walks stages, lower_instruction.cc knows each instruction.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "build/plan.h"
#include "build/stage_state.h"
#include "dockerfile/ast.h"
#include "dockerfile/limits.h"

namespace corten::build {

// A stage while its instructions are gone through.
struct StageInProgress {
  int index = 0;
  StagePlan plan;
  StageEnvironment environment;
  StepId here = kNoStep;
  bool has_cmd = false;  // set in this stage: an ENTRYPOINT then keeps it
  int step_number = 0, step_count = 0;
  std::string label;  // "build ", or "" when there is one stage
  char escape = '\\';
  bool is_triggered = false;  // the instruction comes from ONBUILD
};

class Lowering {
 public:
  Lowering(const Request& request, Sources& sources);
  Plan run();

 private:
  // lower.cc
  void check_directives();
  void lower_platform(const oci::Platform& platform);
  void run_checks();
  void expand_meta_args();
  void expand_from_lines();
  void lower_needed_stages(size_t target);
  const StagePlan& stage(int index);
  StagePlan lower_stage(int index);
  void begin_stage(StageInProgress& s);
  void begin_on_image(StageInProgress& s, const source::BaseImage& image, const std::string& shown_name);
  void begin_on_tree(StageInProgress& s, const std::string& context);
  StepId add_step(StageInProgress& s, Step step, std::string_view text);
  StepId keep_step(Step step);
  std::string shown_platform(const StageInProgress& s) const;
  // `verb` is "copy", or the target of a mount.
  TreeRef tree_by_name(StageInProgress& s, const std::string& name, bool allow_index, const SourceSpan& span,
                       std::string_view verb);
  StepId image_step(const std::string& reference, const SourceSpan& span);

  // lower_instruction.cc
  void apply(StageInProgress& s, const dockerfile::Command& command);
  void run_instruction(StageInProgress& s, const dockerfile::Run& run);
  void copy_instruction(StageInProgress& s, const dockerfile::Transfer& transfer,
                        const dockerfile::Copy* copy, const dockerfile::Add* add);
  std::optional<RemoteSource> remote_source(const StageInProgress& s, const std::string& source,
                                            const SourceSpan& span, const dockerfile::Add* add);
  void workdir_instruction(StageInProgress& s, const dockerfile::Workdir& workdir);
  void check_runs_here(const StageInProgress& s, const dockerfile::Run& run);
  void arg_instruction(StageInProgress& s, const dockerfile::Arg& arg);
  void expose_instruction(StageInProgress& s, const dockerfile::Expose& expose);
  MountUse mount_use(StageInProgress& s, const dockerfile::Word& csv);
  std::string expand(const StageInProgress& s, const dockerfile::Word& word);
  std::vector<std::string> command_argv(const StageInProgress& s,
                                        const dockerfile::CommandLine& command) const;
  void add_history(StageInProgress& s, std::string created_by, bool is_layer);

  const Request& request_;
  Sources& sources_;
  dockerfile::Dockerfile file_;
  Plan plan_;
  dockerfile::ExpansionBudget budget_;

  // Of the platform that is lowered now.
  oci::Platform platform_;
  std::map<std::string, std::string> global_args_;
  struct FromLine {
    std::string image;
    oci::Platform platform;
  };
  std::vector<FromLine> from_lines_;
  std::vector<std::optional<StagePlan>> done_;
  std::vector<StageEnvironment> environments_;
  std::vector<bool> in_progress_;
  std::map<std::string, StepId> image_steps_;

  std::map<std::pair<StepId, int>, std::vector<StepId>> kept_;  // by base and line, over all platforms
};

}  // namespace corten::build
