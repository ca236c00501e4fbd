#include "build/step_work.h"

#include "base/clock.h"
#include "build/journal.h"

namespace corten::build {

PreparedStep StepWork::prepare(const Step& step) const {
  PreparedStep prepared = [&] {
    if (auto* copy = std::get_if<CopyStep>(&step.work)) return prepare_copy(step, *copy);
    if (auto* run = std::get_if<RunStep>(&step.work)) return prepare_run(step, *run);
    return prepare_workdir(step, std::get<WorkdirStep>(step.work));
  }();
  prepared.record.note("base", inputs_.origin_of(step.base));
  return prepared;
}

std::shared_ptr<const store::Tree> StepWork::tree_of(const TreeRef& ref) const {
  switch (ref.kind) {
    case TreeRef::Kind::kStep:
      return executor_.store.layers().tree(inputs_.rootfs_of(ref.step).refs());
    case TreeRef::Kind::kScratch:
      return std::make_shared<store::EmptyTree>();
    case TreeRef::Kind::kContext:
      break;
  }
  auto tree = ref.context.empty() ? sources_.main_context() : sources_.named_tree(ref.context);
  return tree ? tree : std::make_shared<store::EmptyTree>();
}

std::string StepWork::shown_place(const TreeRef& ref) const {
  if (ref.kind == TreeRef::Kind::kContext) return ref.context.empty() ? "context" : "context " + ref.context;
  if (ref.kind == TreeRef::Kind::kScratch || ref.step == kNoStep) return "scratch";
  Json origin = inputs_.origin_of(ref.step);
  if (std::string image = origin.get_string("image"); !image.empty()) return "image " + image;
  JournalStep step;
  step.name = origin.get_string("step");
  std::string stage = step.place().stage;
  return stage.empty() ? "stage" : "stage " + stage;
}

Digest StepWork::family(const Step& step) const {
  std::string text = executor_.request.project + '\0' + executor_.request.dockerfile_name + '\0' + step.name;
  return Digest::of(text + '\0' + step.instruction);
}

// --timestamps=source: what has no time of its own was made now.
store::Manifest StepWork::with_clock_times(store::Manifest manifest) const {
  if (executor_.request.timestamps == Timestamps::kLayer) return manifest;
  std::vector<store::Entry> entries = manifest.entries();
  int64_t now = executor_.request.source_date_epoch ? clamped_ns(*executor_.request.source_date_epoch)
                                                    : executor_.clock.now_ns();
  for (store::Entry& e : entries)
    if (!e.time_ns && e.type != store::EntryType::kWhiteout) e.time_ns = now;
  return store::Manifest(std::move(entries));
}

}  // namespace corten::build
