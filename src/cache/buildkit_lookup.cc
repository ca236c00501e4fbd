#include "cache/buildkit_lookup.h"

#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/trace.h"
#include "cache/imports.h"
#include "source/layer_import.h"

namespace corten::cache {

BuildkitLookup::BuildkitLookup(const build::Plan& plan, const build::Request& request,
                               build::Caches::FilesOf files, store::Store& store)
    : build_(plan), plan_(buildkit_plan(plan, request)), files_(std::move(files)), store_(store) {}

std::optional<Digest> BuildkitLookup::content(BuildkitNodeId node, const std::vector<BuildkitPath>& paths,
                                              bool is_of_contexts) {
  auto ref = plan_.files.find(node);
  if (ref == plan_.files.end()) return std::nullopt;
  const bool is_context = ref->second.kind == build::TreeRef::Kind::kContext;
  if (is_of_contexts && !is_context) return std::nullopt;
  auto [known, is_new] = contents_.try_emplace({node, paths});
  if (!is_new) return known->second;
  TraceSpan span("digest files as BuildKit does");
  return known->second = buildkit_content_digest({.tree = files_(ref->second), .is_context = is_context},
                                                 paths, store_.contents());
}

std::vector<std::optional<DiffId>> BuildkitLookup::diff_ids_of(const store::Rootfs& rootfs) const {
  std::vector<std::optional<DiffId>> diff_ids;
  for (const store::LayerRef& layer : rootfs) {
    const auto diff = store_.layers().find_diff(layer);
    diff_ids.push_back(diff ? std::optional(diff->diff_id) : std::nullopt);
  }
  return diff_ids;
}

// A link lies on nothing, whatever the stage stands on.
const BuildkitLayer* BuildkitLookup::find_in(BuildkitMatcher& matcher, build::StepId step,
                                             const std::vector<std::optional<DiffId>>& below) const {
  const BuildkitPlan::Operations& operations = plan_.steps[static_cast<size_t>(step)];
  const BuildkitLayer* layer = nullptr;
  if (operations.result != kNoBuildkitNode) layer = matcher.find(operations.result, below);
  if (!layer && operations.link != kNoBuildkitNode) layer = matcher.find(operations.link, {});
  return layer;
}

const BuildkitLayer* BuildkitLookup::find(const BuildkitRecords& records, build::StepId step,
                                          const store::Rootfs& below) {
  auto& matcher = matchers_[&records];
  if (!matcher)
    matcher = std::make_unique<BuildkitMatcher>(
        plan_.graph, records, [this](BuildkitNodeId node, const std::vector<BuildkitPath>& paths) {
          return content(node, paths, false);
        });
  return find_in(*matcher, step, diff_ids_of(below));
}

const std::vector<BuildkitLookup::Foreseen>& BuildkitLookup::foresee(
    const std::vector<const BuildkitRecords*>& caches) {
  if (foreseen_) return *foreseen_;
  // Matchers of their own: what these do not find may be found by its content later.
  std::vector<std::unique_ptr<BuildkitMatcher>> matchers;
  for (const BuildkitRecords* records : caches)
    matchers.push_back(std::make_unique<BuildkitMatcher>(
        plan_.graph, *records, [this](BuildkitNodeId node, const std::vector<BuildkitPath>& paths) {
          return content(node, paths, true);
        }));
  std::vector<Foreseen> foreseen(build_.steps.size());
  std::vector<std::optional<std::vector<std::optional<DiffId>>>> stacks(build_.steps.size());
  for (const build::Step& step : build_.steps) {
    const auto id = static_cast<size_t>(step.id);
    if (const auto* from = std::get_if<build::FromStep>(&step.work)) {
      stacks[id].emplace(from->image.config.diff_ids.begin(), from->image.config.diff_ids.end());
      continue;
    }
    stacks[id].emplace();
    if (step.base != build::kNoStep) stacks[id] = stacks[static_cast<size_t>(step.base)];
    if (!stacks[id]) continue;
    Foreseen& found = foreseen[id];
    for (size_t i = 0; i < caches.size() && !found.layer; i++)
      found = {
          .cache = caches[i], .layer = find_in(*matchers[i], step.id, *stacks[id]), .below = *stacks[id]};
    if (found.layer)
      stacks[id]->push_back(found.layer->diff_id);
    else
      stacks[id].reset();
  }
  return foreseen_.emplace(std::move(foreseen));
}

// --- of Imports ---

void Imports::begin(const build::Plan& plan, const build::Request& request, build::Caches::FilesOf files) {
  std::lock_guard lock(foreign_mutex_);
  foreign_.reset();
  begin_foreign_ = [this, &plan, &request, files = std::move(files)] {
    return std::make_unique<BuildkitLookup>(plan, request, files, store_);
  };
}

void Imports::end() {
  std::lock_guard lock(foreign_mutex_);
  begin_foreign_ = {};
  foreign_.reset();
}

BuildkitLookup* Imports::lookup() {
  if (!foreign_ && begin_foreign_) foreign_ = begin_foreign_();
  return foreign_.get();
}

// A file that is lost makes another pass, as it does wherever it is needed.
static bool is_everybodys(const Error& error) {
  return error.code() == ErrorCode::kCancelled || error.code() == ErrorCode::kNoSpace ||
         error.code() == ErrorCode::kLost;
}

std::optional<store::Action> Imports::find_foreign(const Digest& key, const store::Rootfs& below,
                                                   build::StepId step) {
  for (auto& source : sources_) {
    if (!wait_for(*source) || source->buildkit.empty()) continue;
    TraceSpan span("ask caches of BuildKit's for a step");
    try {
      for (const BuildkitRecords& records : source->buildkit) {
        const BuildkitLayer* layer = nullptr;
        {
          std::lock_guard lock(foreign_mutex_);
          if (BuildkitLookup* lookup = this->lookup()) layer = lookup->find(records, step, below);
        }
        if (!layer) continue;
        store::Action action{.key = key,
                             .kind = "exact",
                             .layer = take_foreign(*source, *layer, below),
                             .record = Json::object({{"cache", source->place->name()}}).dump()};
        store_.record_action(action);
        return action;
      }
    } catch (const Error& error) {
      if (is_everybodys(error)) throw;
      failed(*source->place, error.what());
    }
  }
  return std::nullopt;
}

std::vector<bool> Imports::foresee() {
  std::vector<const BuildkitRecords*> caches;
  for (auto& source : sources_)
    if (wait_for(*source))
      for (const BuildkitRecords& records : source->buildkit) caches.push_back(&records);
  std::vector<bool> known;
  std::lock_guard lock(foreign_mutex_);
  if (caches.empty() || !lookup()) return known;
  TraceSpan span("ask caches of BuildKit's what is not needed");
  try {
    for (const BuildkitLookup::Foreseen& one : lookup()->foresee(caches))
      known.push_back(one.layer != nullptr);
  } catch (const Error& error) {
    if (is_everybodys(error)) throw;
    known.clear();  // a file of the context that cannot be read: who needs it will say so
  }
  return known;
}

std::optional<store::LayerRef> Imports::foreseen(build::StepId step, const store::Rootfs& below) {
  BuildkitLookup::Foreseen found;
  {
    std::lock_guard lock(foreign_mutex_);
    if (!lookup()) return std::nullopt;
    found = lookup()->foresee({}).at(static_cast<size_t>(step));
    if (!found.layer || lookup()->diff_ids_of(below) != found.below) return std::nullopt;
  }
  for (auto& source : sources_) {
    if (!wait_for(*source)) continue;
    for (const BuildkitRecords& records : source->buildkit) {
      if (&records != found.cache) continue;
      try {
        return take_foreign(*source, *found.layer, below);
      } catch (const Error& error) {
        if (is_everybodys(error)) throw;
        failed(*source->place, error.what());
      }
    }
  }
  return std::nullopt;
}

// A layer's manifest cannot be had without its tar, so it is fetched here and now. It stays as it came: an
// image of this build has the very blob that BuildKit's has.
store::LayerRef Imports::take_foreign(Source& source, const BuildkitLayer& layer,
                                      const store::Rootfs& below) {
  bool is_fetched = false;
  const auto fetch = [&](const oci::Descriptor& blob, int fd, const std::function<void(uint64_t)>& reached) {
    source.place->fetch_blob(blob, fd);
    is_fetched = true;
    reached(blob.size);
  };
  const store::LayerRef here =
      source::import_layers({layer.blob}, {*layer.diff_id}, 1, fetch, store_, below).back();
  if (is_fetched) note_fetched(here.id, layer.blob.size);
  return here;
}

}  // namespace corten::cache
