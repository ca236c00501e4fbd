// What each kind of step is made of: first its key, from the contents of its inputs, then the work that is
// done when nobody has done it. When and whether that happens is the solver's business (solve.cc).
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "build/copy.h"
#include "build/events.h"
#include "build/key.h"
#include "build/layer_time.h"
#include "build/remote_fetches.h"
#include "build/run.h"
#include "build/single_flight.h"

namespace corten::build {

// A step whose inputs are done.
struct PreparedStep {
  KeyRecord record;
  StageRootfs below;
  StageLayer layer;  // how its layer lies in the stage; the reference is set when it is known
  // What the record knows by a digest alone, in full, for `why`: digest to selection.
  std::map<Digest, Selection> selections;
  // Makes the layer, under the lead of the key; tells what that took.
  std::function<store::LayerRef(Lead&, sandbox::ResourceUse&)> work;
  std::vector<std::shared_ptr<const store::Tree>> trees;  // that selections point into
};

// What a step asks of those before it. Thread-safe.
class Inputs {
 public:
  virtual ~Inputs() = default;
  virtual StageRootfs rootfs_of(StepId id) const = 0;  // of a step that is done; kNoStep: nothing
  // What `why` says of a step's root file system: which step or image it is, and its key.
  virtual Json origin_of(StepId id) const = 0;
};

class StepWork {
 public:
  StepWork(Sources& sources, Executor& executor, Events& events, RemoteFetches& fetches, const Inputs& inputs)
      : sources_(sources), executor_(executor), events_(events), fetches_(fetches), inputs_(inputs) {}

  // Reads what the key needs. Not for FROM, which is done when its image is known. Thread-safe.
  PreparedStep prepare(const Step& step) const;
  // The files that are meant, of a step that is done.
  std::shared_ptr<const store::Tree> tree_of(const TreeRef& ref) const;
  // Steps whose layers are likely to be much alike: this one in later builds of the same thing.
  Digest family(const Step& step) const;

 private:
  PreparedStep prepare_copy(const Step& step, const CopyStep& copy) const;           // copy_work.cc
  PreparedStep prepare_workdir(const Step& step, const WorkdirStep& workdir) const;  // copy_work.cc
  PreparedStep prepare_run(const Step& step, const RunStep& run) const;              // run_work.cc
  std::string shown_place(const TreeRef& ref) const;  // "context", "stage build", "image debian:12"
  Json secret_digests(const RunStep& run) const;
  store::Manifest with_clock_times(store::Manifest manifest) const;

  Sources& sources_;
  Executor& executor_;
  Events& events_;
  RemoteFetches& fetches_;
  const Inputs& inputs_;
};

}  // namespace corten::build
