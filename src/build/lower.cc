#include "build/lower.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/suggest.h"
#include "build/check.h"
#include "dockerfile/automatic_args.h"
#include "dockerfile/directives.h"
#include "dockerfile/instructions.h"
#include "dockerfile/stage_graph.h"
#include "dockerfile/stages.h"
#include "dockerfile/with_span.h"
#include "oci/reference.h"

namespace corten::build {

std::vector<StepId> Step::inputs() const {
  std::vector<StepId> ids;
  auto add = [&](StepId input) {
    if (input != kNoStep && std::find(ids.begin(), ids.end(), input) == ids.end()) ids.push_back(input);
  };
  add(base);
  if (auto* copy = std::get_if<CopyStep>(&work)) add(copy->from.step);
  if (auto* run = std::get_if<RunStep>(&work))
    for (const MountUse& use : run->mounts) add(use.from.step);
  return ids;
}

Plan make_plan(const Request& request, Sources& sources) {
  return Lowering(request, sources).run();
}

Lowering::Lowering(const Request& request, Sources& sources) : request_(request), sources_(sources) {}

Plan Lowering::run() {
  file_ = dockerfile::parse_dockerfile(request_.dockerfile, request_.dockerfile_name);
  check_directives();
  if (file_.stages.empty()) fail(ErrorCode::kInvalid, "dockerfile contains no stages to build");
  for (const oci::Platform& platform : request_.platforms) lower_platform(platform);
  run_checks();
  return std::move(plan_);
}

void Lowering::lower_platform(const oci::Platform& platform) {
  platform_ = platform;
  done_.assign(file_.stages.size(), std::nullopt);
  environments_.assign(file_.stages.size(), {});
  in_progress_.assign(file_.stages.size(), false);
  from_lines_.clear();
  image_steps_.clear();
  expand_meta_args();
  expand_from_lines();
  size_t index = dockerfile::find_target(file_.stages, request_.target);
  lower_needed_stages(index);
  TargetPlan target{platform, stage(static_cast<int>(index))};
  oci::ImageConfig& config = target.stage.config;
  for (const auto& [key, value] : request_.labels) config.config.labels[key] = value;
  config.config.on_build = target.stage.on_build;
  // What was asked for is what the image says it is (section 5.2); what its base is beside it is a warning.
  if (request_.platform_given) config.platform = platform;
  plan_.targets.push_back(std::move(target));
}

// Findings are warnings, unless the file asks for errors.
void Lowering::run_checks() {
  dockerfile::LintResult lint = check_dockerfile(request_, sources_, {file_, std::nullopt}, false);
  if (lint.is_error) plan_.check_error = lint.error_message();
  plan_.warnings = std::move(lint.findings);
}

// The frontend is ours: another one cannot be fetched.
void Lowering::check_directives() {
  if (!file_.directives.syntax) return;
  std::string image(dockerfile::syntax_image(file_.directives.syntax->text));
  auto reference = oci::Reference::try_parse(image);
  const std::vector<std::string> kOurs = {"docker/dockerfile", "docker/dockerfile-upstream",
                                          "moby/dockerfile"};
  if (reference && std::find(kOurs.begin(), kOurs.end(), reference->repository()) != kOurs.end()) return;
  throw Error(ErrorCode::kUnsupported,
              fmt::format("syntax {}: only Docker's own frontend is known, which is built in", image))
      .with_hint("write '# syntax=docker/dockerfile:1', or leave the line out")
      .with_span(file_.directives.syntax->span);
}

// Errors in words get the place of the word.
void Lowering::expand_meta_args() {
  global_args_.clear();
  for (auto& [name, value] : dockerfile::automatic_args(file_, request_.target, request_.build_platform,
                                                        platform_, request_.build_args))
    global_args_[name] = std::move(value);
  dockerfile::MapEnvironment environment({global_args_.begin(), global_args_.end()});
  for (const dockerfile::Arg& line : file_.meta_args)
    for (const dockerfile::ArgDeclaration& arg : line.entries) {
      auto given = request_.build_args.find(arg.name);
      if (given == request_.build_args.end() && !arg.value) continue;
      std::string& value = global_args_[arg.name];
      if (given != request_.build_args.end())
        value = given->second;
      else
        value = dockerfile::with_span(arg.span, [&] {
          return dockerfile::process_word(arg.value->text, environment, {.escape = file_.directives.escape});
        });
      budget_.take(value.size());
      environment.set(arg.name, value);
    }
}

void Lowering::expand_from_lines() {
  dockerfile::MapEnvironment environment({global_args_.begin(), global_args_.end()});
  for (const dockerfile::Stage& stage : file_.stages) {
    FromLine line{"", platform_};
    line.image = dockerfile::with_span(stage.from.image.span, [&] {
      return dockerfile::process_word(stage.from.image.text, environment,
                                      {.escape = file_.directives.escape});
    });
    if (line.image.empty())
      throw Error(ErrorCode::kInvalid,
                  fmt::format("base name ({}) should not be blank", stage.from.image.text))
          .with_span(stage.from.image.span);
    if (stage.from.platform) {
      const dockerfile::Word& word = *stage.from.platform;
      std::string text = dockerfile::with_span(word.span, [&] {
        return dockerfile::process_word(word.text, environment, {.escape = file_.directives.escape});
      });
      if (text.empty())
        throw Error(ErrorCode::kInvalid, fmt::format("empty platform value from expression {}", word.text))
            .with_span(word.span);
      try {
        line.platform = oci::parse_platform(text).normalized();
      } catch (Error& error) {
        error.add_context(fmt::format("failed to parse platform {}", text));
        error.set_span(word.span);
        throw;
      }
    }
    from_lines_.push_back(std::move(line));
  }
}

// In the order of the file, so that a stage finds those that it needs done: a thousand stages on one another
// are no thousand calls deep. What triggers of images name comes on the way.
void Lowering::lower_needed_stages(size_t target) {
  std::vector<std::optional<size_t>> bases;
  std::map<std::string, size_t> by_name;
  for (size_t i = 0; i < file_.stages.size(); i++) {
    auto base = by_name.find(from_lines_[i].image);
    bases.push_back(base == by_name.end() ? std::nullopt : std::optional(base->second));
    if (const auto& name = file_.stages[i].from.name) by_name[name->text] = i;
  }
  auto needs = dockerfile::stage_needs(file_, bases, by_name);
  dockerfile::refuse_circles(file_, needs);
  std::vector<bool> wanted(file_.stages.size(), request_.all_stages);
  dockerfile::mark_needed(needs, target, wanted);
  for (size_t i = 0; i < wanted.size(); i++)
    if (wanted[i]) stage(static_cast<int>(i));
}

const StagePlan& Lowering::stage(int index) {
  size_t i = static_cast<size_t>(index);
  if (!done_[i]) {
    if (in_progress_[i])
      fail(ErrorCode::kInvalid, "circular dependency detected on stage: {}",
           dockerfile::stage_label(file_.stages, i));
    in_progress_[i] = true;
    done_[i] = lower_stage(index);
    in_progress_[i] = false;
  }
  return *done_[i];
}

StagePlan Lowering::lower_stage(int index) {
  StageInProgress s;
  s.index = index;
  s.escape = file_.directives.escape;
  const dockerfile::Stage& stage = file_.stages[static_cast<size_t>(index)];
  s.plan.name = dockerfile::stage_label(file_.stages, static_cast<size_t>(index));
  if (file_.stages.size() > 1) s.label = s.plan.name + " ";
  for (const dockerfile::Command& command : stage.commands)
    s.step_count += std::holds_alternative<dockerfile::Run>(command) ||
                    std::holds_alternative<dockerfile::Copy>(command) ||
                    std::holds_alternative<dockerfile::Add>(command) ||
                    std::holds_alternative<dockerfile::Workdir>(command);
  // A context may take the place of a stage of its name.
  bool replaced = stage.from.name && sources_.has_named(stage.from.name->text);
  try {
    if (replaced) {
      const std::string& name = stage.from.name->text;
      if (auto image = sources_.named_image(name, from_lines_[static_cast<size_t>(index)].platform))
        begin_on_image(s, *image, name);
      else
        begin_on_tree(s, name);
    } else {
      begin_stage(s);
    }
  } catch (Error& error) {
    if (!error.span()) error.set_span(stage.from.span);
    throw;
  }
  if (!replaced) {
    std::vector<std::string> triggers = std::move(s.plan.on_build);
    s.plan.on_build.clear();
    for (const std::string& trigger : triggers) {
      s.is_triggered = true;
      char escape = std::exchange(s.escape, '\\');
      dockerfile::Command command = dockerfile::with_span(
          stage.from.span, [&] { return dockerfile::parse_instruction(trigger, "ONBUILD"); });
      dockerfile::with_span(stage.from.span, [&] {
        apply(s, command);
        return 0;
      });
      s.escape = escape;
    }
    s.is_triggered = false;
    for (const dockerfile::Command& command : stage.commands)
      dockerfile::with_span(dockerfile::instruction_of(command).span, [&] {
        apply(s, command);
        return 0;
      });
  }
  s.plan.result = s.here;
  environments_[static_cast<size_t>(index)] = s.environment;
  return std::move(s.plan);
}

// What a stage copies of the one that it stands on.
static size_t inherited_bytes(const StagePlan& base, const StageEnvironment& environment) {
  size_t bytes = base.layer_steps.size() * sizeof(StepId);
  for (const oci::History& entry : base.config.history) bytes += sizeof(entry) + entry.created_by.size();
  for (const std::string& entry : environment.list()) bytes += 2 * entry.size();
  return bytes;
}

void Lowering::begin_stage(StageInProgress& s) {
  const FromLine& from = from_lines_[static_cast<size_t>(s.index)];
  if (auto parent = dockerfile::find_base_stage(file_.stages, from.image, static_cast<size_t>(s.index))) {
    const StagePlan& base = stage(static_cast<int>(*parent));
    budget_.take(inherited_bytes(base, environments_[*parent]));
    std::string name = s.plan.name;
    s.plan = base;
    s.plan.name = name;
    s.plan.has_run = false;
    s.here = base.result;
    s.environment = environments_[*parent];
    for (const std::string& entry : s.plan.config.config.env)
      s.environment.touch(entry.substr(0, entry.find('=')));
    return;
  }
  if (sources_.has_named(from.image)) {
    if (auto image = sources_.named_image(from.image, from.platform))
      begin_on_image(s, *image, from.image);
    else
      begin_on_tree(s, from.image);
    return;
  }
  if (from.image == "scratch") {
    s.plan.config.platform = from.platform;
    s.plan.config.config.working_dir = "/";
    s.plan.config.config.set_env("PATH", kDefaultPath);
    s.environment.set("PATH", std::string(kDefaultPath));
    return;
  }
  try {
    begin_on_image(s, sources_.image(from.image, from.platform), from.image);
  } catch (Error& error) {
    std::vector<std::string> names;
    for (int i = 0; i < s.index; i++)
      if (const auto& name = file_.stages[static_cast<size_t>(i)].from.name) names.push_back(name->text);
    if (auto near = suggest(from.image, names); near && error.code() == ErrorCode::kNotFound)
      error.set_hint(fmt::format("did you mean the stage {}? {}", *near, error.hint()));
    throw;
  }
}

void Lowering::begin_on_image(StageInProgress& s, const source::BaseImage& image,
                              const std::string& shown_name) {
  s.plan.config = image.config;
  s.plan.config.raw.clear();
  s.plan.config.created.clear();
  s.plan.config.other.clear();
  s.plan.config.diff_ids.clear();
  s.plan.on_build = std::exchange(s.plan.config.config.on_build, {});
  if (!s.plan.config.config.env_value("PATH")) s.plan.config.config.set_env("PATH", kDefaultPath);
  for (const std::string& entry : s.plan.config.config.env) {
    size_t equals = entry.find('=');
    s.environment.set(entry.substr(0, equals), equals == std::string::npos ? "" : entry.substr(equals + 1));
  }
  s.step_count++;
  Step step;
  step.span = file_.stages[static_cast<size_t>(s.index)].from.span;
  step.work = FromStep{image};
  s.here = add_step(s, std::move(step), "FROM " + shown_name);
  s.plan.base = FromStep{image};
}

// A directory as a base: its files are one layer on nothing, without a history entry of their own.
void Lowering::begin_on_tree(StageInProgress& s, const std::string& context) {
  s.plan.config.platform = from_lines_[static_cast<size_t>(s.index)].platform;
  s.plan.config.config.working_dir = "/";
  s.plan.config.config.set_env("PATH", kDefaultPath);
  s.environment.set("PATH", std::string(kDefaultPath));
  CopyStep copy;
  copy.from = {TreeRef::Kind::kContext, kNoStep, context};
  copy.sources = {"/"};
  copy.destination = "/";
  s.step_count++;
  Step step;
  step.span = file_.stages[static_cast<size_t>(s.index)].from.span;
  step.work = std::move(copy);
  s.here = add_step(s, std::move(step), "FROM " + context);
  s.plan.layer_steps.push_back(s.here);
}

// The same step for another platform is the same step: same place, same base, same inputs, and nothing of the
// platform in it.
StepId Lowering::keep_step(Step step) {
  std::vector<StepId>& alike = kept_[{step.base, step.span.line}];
  if (!plan_.targets.empty())  // within one platform no two steps are one
    for (StepId id : alike) {
      const Step& known = plan_.steps[static_cast<size_t>(id)];
      if (known.span == step.span && known.no_cache == step.no_cache && known.work == step.work) return id;
    }
  step.id = static_cast<StepId>(plan_.steps.size());
  alike.push_back(step.id);
  plan_.steps.push_back(std::move(step));
  return plan_.steps.back().id;
}

// BuildKit's: the stage's platform and, when the stage asked for it, what it builds for.
std::string Lowering::shown_platform(const StageInProgress& s) const {
  if (request_.platforms.size() < 2) return "";
  const oci::Platform& here = s.plan.config.platform;
  bool knows_target = false;
  for (const char* name : {"TARGETPLATFORM", "TARGETOS", "TARGETARCH"})
    knows_target |= s.environment.is_declared(name);
  std::string text = here.format();
  if (knows_target && platform_.os != here.os)
    text += "->" + platform_.format();
  else if (knows_target && platform_.architecture != here.architecture)
    text += "->" + platform_.format().substr(platform_.os.size() + 1);
  return text + " ";
}

StepId Lowering::add_step(StageInProgress& s, Step step, std::string_view text) {
  step.stage = s.index;
  step.instruction = std::string(text);
  std::string first_line(text.substr(0, text.find('\n')));
  s.step_number++;
  step.name = fmt::format("[{}{}{}/{}] {}{}", shown_platform(s), s.label, s.step_number,
                          std::max(s.step_count, s.step_number), s.is_triggered ? "ONBUILD " : "",
                          printable(first_line));
  step.no_cache = request_.no_cache || request_.no_cache_stages.contains(to_lower(s.plan.name));
  return keep_step(std::move(step));
}

StepId Lowering::image_step(const std::string& reference, const SourceSpan& span) {
  if (auto known = image_steps_.find(reference); known != image_steps_.end()) return known->second;
  std::optional<source::BaseImage> image;
  if (sources_.has_named(reference)) image = sources_.named_image(reference, platform_);
  if (!image) image = sources_.image(reference, platform_);
  Step step;
  step.name = "[internal] image " + reference;
  step.instruction = "FROM " + reference;
  step.span = span;
  step.work = FromStep{*image};
  step.no_cache = request_.no_cache;
  return image_steps_[reference] = keep_step(std::move(step));
}

TreeRef Lowering::tree_by_name(StageInProgress& s, const std::string& name, bool allow_index,
                               const SourceSpan& span, std::string_view verb) {
  auto of_stage = [&](size_t index) {
    const StagePlan& other = stage(static_cast<int>(index));
    if (other.result == kNoStep) return TreeRef{};
    return TreeRef{TreeRef::Kind::kStep, other.result, ""};
  };
  size_t here = static_cast<size_t>(s.index);
  if (auto index = dockerfile::find_stage(file_.stages, name, here)) return of_stage(*index);
  if (allow_index)
    if (auto index = dockerfile::find_stage_index(file_.stages, name)) {
      if (*index == here) fail(ErrorCode::kInvalid, "circular dependency detected on stage: {}", name);
      if (*index > here)
        fail(ErrorCode::kInvalid, "cannot {} from stage {}, it needs to be defined before current stage {}",
             verb, quote(name), quote(s.plan.name));
      return of_stage(*index);
    }
  if (sources_.has_named(name)) {
    if (sources_.named_tree(name)) return {TreeRef::Kind::kContext, kNoStep, name};
    return {TreeRef::Kind::kStep, image_step(name, span), ""};
  }
  if (auto later = dockerfile::find_stage(file_.stages, name)) {
    if (*later == here) fail(ErrorCode::kInvalid, "circular dependency detected on stage: {}", name);
    if (verb == "copy")
      fail(ErrorCode::kInvalid, "cannot copy from stage {}, it needs to be defined before current stage {}",
           quote(name), quote(s.plan.name));
    fail(ErrorCode::kInvalid,
         "cannot mount from stage {} to {}, stage needs to be defined before current command", quote(name),
         quote(verb));
  }
  if (name == "scratch") return {};
  return {TreeRef::Kind::kStep, image_step(name, span), ""};
}

}  // namespace corten::build
