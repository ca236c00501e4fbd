#include "cache/buildkit_lookup.h"

#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/trace.h"
#include "cache/fetched_blob.h"
#include "cache/imports.h"
#include "source/base_image.h"

namespace corten::cache {

BuildkitLookup::BuildkitLookup(const build::Plan& plan, const build::Request& request,
                               build::Caches::FilesOf files, store::Store& store)
    : plan_(buildkit_plan(plan, request)), files_(std::move(files)), store_(store) {}

std::optional<Digest> BuildkitLookup::content(BuildkitNodeId node, const std::vector<BuildkitPath>& paths) {
  auto [known, is_new] = contents_.try_emplace({node, paths});
  if (!is_new) return known->second;
  auto ref = plan_.files.find(node);
  if (ref == plan_.files.end()) return std::nullopt;
  TraceSpan span("digest files as BuildKit does");
  const BuildkitFiles files{.tree = files_(ref->second),
                            .is_context = ref->second.kind == build::TreeRef::Kind::kContext};
  return known->second = buildkit_content_digest(files, paths, store_.contents());
}

const BuildkitLayer* BuildkitLookup::find(const BuildkitRecords& records, build::StepId step,
                                          const store::Rootfs& below) {
  auto& matcher = matchers_[&records];
  if (!matcher)
    matcher = std::make_unique<BuildkitMatcher>(
        plan_.graph, records,
        [this](BuildkitNodeId node, const std::vector<BuildkitPath>& paths) { return content(node, paths); });
  std::vector<std::optional<DiffId>> diff_ids;
  for (const store::LayerRef& layer : below) {
    const auto diff = store_.layers().find_diff(layer);
    diff_ids.push_back(diff ? std::optional(diff->diff_id) : std::nullopt);
  }
  const BuildkitPlan::Operations& operations = plan_.steps[static_cast<size_t>(step)];
  for (const BuildkitNodeId node : {operations.result, operations.link}) {
    if (node == kNoBuildkitNode) continue;
    if (node == operations.link) diff_ids.clear();  // it lies on nothing, whatever the stage stands on
    if (const BuildkitLayer* layer = matcher->find(node, diff_ids)) return layer;
  }
  return nullptr;
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
          if (!foreign_ && begin_foreign_) foreign_ = begin_foreign_();
          if (foreign_) layer = foreign_->find(records, step, below);
        }
        if (layer) return take_foreign(*source, key, *layer, below);
      }
    } catch (const Error& error) {
      // A file that is lost makes another pass, as it does wherever it is needed.
      if (error.code() == ErrorCode::kCancelled || error.code() == ErrorCode::kNoSpace ||
          error.code() == ErrorCode::kLost)
        throw;
      failed(*source->place, error.what());
    }
  }
  return std::nullopt;
}

// A layer's manifest cannot be had without its tar, so it is fetched here and now. It stays as it came: an
// image of this build has the very blob that BuildKit's has.
store::Action Imports::take_foreign(Source& source, const Digest& key, const BuildkitLayer& layer,
                                    const store::Rootfs& below) {
  auto here = source::imported_layer(layer.blob, *layer.diff_id, store_);
  if (!here) {
    const FetchedBlob blob(*source.place, layer.blob, store_);
    here = source::import_layer_file(blob.path(), layer.blob, *layer.diff_id, below, store_);
    note_fetched(here->id, layer.blob.size);
  }
  store::Action action{.key = key,
                       .kind = "exact",
                       .layer = *here,
                       .record = Json::object({{"cache", source.place->name()}}).dump()};
  store_.record_action(action);
  return action;
}

}  // namespace corten::cache
