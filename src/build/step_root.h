// The root file system of a RUN: the layers below, with a place for what the step writes, which is then read
// as a layer. One way for each rung of sandbox::Uppers.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/digest.h"
#include "base/temp_dir.h"
#include "build/layer_time.h"
#include "sandbox/spec.h"
#include "sandbox/uppers.h"
#include "store/directory_body.h"
#include "store/store.h"

namespace corten::build {

// Whole trees that steps left behind, by the layers that they show: the next step of a stage goes on in the
// tree of the one before, so that a base is copied once. Thread-safe.
class StepTrees {
 public:
  TempDir take(const Digest& rootfs);  // an empty path when there is none
  void give(const Digest& rootfs, TempDir tree);

 private:
  std::mutex mutex_;
  std::map<Digest, TempDir> trees_;
};

struct StepRootOptions {
  store::Store& store;
  StepTrees& trees;
  const StageRootfs& below;
  const store::Tree& view;  // of what is below
  store::Owners owners;
  std::string place;      // a directory of the step's own, in the store
  std::string restamped;  // lies on top of the layers, if not ""
  int64_t layer_time = 0;
};

class StepRoot {
 public:
  // Copies what must be copied.
  static std::unique_ptr<StepRoot> make(sandbox::Uppers uppers, const StepRootOptions& options);
  virtual ~StepRoot() = default;

  // Where what the step writes will lie; what is put there before belongs to its layer.
  virtual const std::string& writable() const = 0;
  // Borrows descriptors of ours.
  virtual void describe(sandbox::Root& root) = 0;
  virtual store::Manifest capture(const store::CaptureOptions& options) = 0;
  // Brings the layer into the store; what we have may serve the next step.
  virtual store::LayerRef keep(const store::Manifest& manifest) = 0;
  // What may have made the step fail, as a hint; "" usually.
  virtual std::string why_it_may_have_failed() const { return {}; }
};

}  // namespace corten::build
