// One build's steps in BuildKit's caches: the plan in BuildKit's words, made when the first such cache is
// asked, and what was found of it in each.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "build/caches.h"
#include "cache/buildkit_match.h"
#include "cache/buildkit_plan.h"
#include "store/store.h"

namespace corten::cache {

// Not thread-safe. All that it is given is borrowed.
class BuildkitLookup {
 public:
  BuildkitLookup(const build::Plan& plan, const build::Request& request, build::Caches::FilesOf files,
                 store::Store& store);
  // What the step gave on these. Throws what reading its inputs throws.
  const BuildkitLayer* find(const BuildkitRecords& records, build::StepId step, const store::Rootfs& below);

  // What a step gave, and in which of the caches.
  struct Foreseen {
    const BuildkitRecords* cache = nullptr;
    const BuildkitLayer* layer = nullptr;
    std::vector<std::optional<DiffId>> below;
  };
  // By step id, known without the files of other steps, from images upwards; a layer is null where it is not.
  // Asked once; later calls give the same.
  const std::vector<Foreseen>& foresee(const std::vector<const BuildkitRecords*>& caches);
  std::vector<std::optional<DiffId>> diff_ids_of(const store::Rootfs& rootfs) const;

 private:
  std::optional<Digest> content(BuildkitNodeId node, const std::vector<BuildkitPath>& paths,
                                bool is_of_contexts);
  const BuildkitLayer* find_in(BuildkitMatcher& matcher, build::StepId step,
                               const std::vector<std::optional<DiffId>>& below) const;

  const build::Plan& build_;
  const BuildkitPlan plan_;
  build::Caches::FilesOf files_;
  store::Store& store_;
  std::map<const BuildkitRecords*, std::unique_ptr<BuildkitMatcher>> matchers_;
  std::map<std::pair<BuildkitNodeId, std::vector<BuildkitPath>>, std::optional<Digest>> contents_;
  std::optional<std::vector<Foreseen>> foreseen_;
};

}  // namespace corten::cache
