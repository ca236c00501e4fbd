// Caches that came from elsewhere, as the solver sees them: layers for keys, and what goes back to them. The
// room `cache` implements this; a build without such caches has none.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "build/plan.h"
#include "source/base_image.h"
#include "store/owners.h"
#include "store/store.h"

namespace corten::build {

// Implementations are thread-safe. No failure while reading a cache is an error: it is a miss.
class Caches {
 public:
  virtual ~Caches() = default;
  // For caches whose keys are not ours: what will be solved. `files` gives those of a step that is done, and
  // of a context; it may throw what reading them throws. All of it is borrowed until end().
  using FilesOf = std::function<std::shared_ptr<const store::Tree>(const TreeRef&)>;
  virtual void begin(const Plan& plan, const Request& request, FilesOf files) = 0;
  virtual void end() = 0;
  // What a step with this key gave elsewhere. It stands in the store then, its layer perhaps absent
  // (store::Layers). One that was lost in this build is not found again.
  // `below`: what the step stands on. `step`: which one of the plan it is, all of whose inputs are done.
  virtual std::optional<store::Action> find(const Digest& key, const store::Rootfs& below, StepId step) = 0;
  // By step id: whether a cache knows the step without the files of its inputs, all down to its image. Empty
  // when it knows none so.
  virtual std::vector<bool> foresee() = 0;
  // The layer of such a step on these; nothing when it cannot be had after all.
  virtual std::optional<store::LayerRef> foreseen(StepId step, const store::Rootfs& below) = 0;
  // The layers of an image that lies in a registry, without its bytes.
  virtual std::optional<store::Rootfs> base(const source::BaseImage& image) = 0;
  // A cache mount as it was elsewhere, for a store that does not have it: makes `data` and `seen` in the
  // empty directory. False: there is none.
  virtual bool fill_mount(const std::string& id, const std::string& directory,
                          const store::Owners& owners) = 0;
  // A step has its layer, made here or found. `exported`: as images of this build will have it.
  virtual void step_ended(const store::Action& action, const std::vector<store::LayerRef>& exported,
                          bool is_made) = 0;
  virtual void base_used(const source::BaseImage& image, const store::Rootfs& layers) = 0;
  virtual void mount_used(const std::string& id) = 0;
};

}  // namespace corten::build
