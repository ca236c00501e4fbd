// RUN: a step's description turned into a sandbox, and the sandbox's upper into a layer.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "base/clock.h"
#include "base/thread_pool.h"
#include "build/layer_time.h"
#include "build/plan.h"
#include "build/processor_slots.h"
#include "build/step_root.h"
#include "sandbox/privilege.h"
#include "sandbox/process.h"
#include "store/layer_tar.h"
#include "store/owners.h"

namespace corten::build {

struct BuildResult;
class Caches;
class Explainer;
class Journal;

// Kills what runs when a build is cancelled. Thread-safe.
class RunningProcesses {
 public:
  void add(sandbox::Process* process);
  void remove(sandbox::Process* process);
  void kill_all();

 private:
  std::mutex mutex_;
  std::set<sandbox::Process*> processes_;
  bool killed_ = false;
};

// What executing steps needs of this machine. Borrowed for the build.
struct Executor {
  store::Store& store;
  const Request& request;
  sandbox::Entered entered;
  const Clock& clock;
  Cancellation cancellation;
  RunningProcesses& running;
  uint64_t max_unpacked_bytes = store::kUsualUnpackedBytes;  // of an archive that ADD unpacks
  std::string build = "";                                    // its id
  Explainer* explainer = nullptr;                            // null: misses are not explained
  Journal* journal = nullptr;                                // null: none is kept
  Caches* caches = nullptr;                                  // null: none came from elsewhere
  ProcessorSlots* slots = nullptr;                           // null: as many RUNs at once as there are
  const sandbox::LockKeeper* lock_keeper = nullptr;          // needed where steps run in namespaces
  // Called with each layer that this build makes and an image of it will have, with the time that it leaves
  // with.
  std::function<void(const store::LayerRef&)> layer_made;
  // Called when every step has its layer: makes sure that what the outputs will read is here. Error(kLost)
  // makes another pass.
  std::function<void(const BuildResult&)> settle;
  // Where a step's writes go; asked when the first RUN is executed, and not again.
  std::function<sandbox::Uppers()> uppers = [] { return sandbox::Uppers::kOnStore; };
  std::shared_ptr<StepTrees> trees = std::make_shared<StepTrees>();
};

// How the bodies that this executor makes have their owners.
store::Owners body_owners(const sandbox::Entered& entered);
store::Owners body_owners(const Executor& executor);

// A source of a mount, resolved: the files, and the layers when it is a root file system.
struct MountSource {
  std::shared_ptr<const store::Tree> tree;
  std::optional<store::Rootfs> rootfs;
};

struct RunInputs {
  std::string name;  // of the step, for those who wait for it
  StageRootfs below;
  std::vector<MountSource> sources;  // for each mount of the step; empty where it has none
  int lock_fd = -1;                  // kept as long as a process of the step lives
  std::function<void(int stream, std::string_view)> output;
  std::function<void(std::string_view)> wait;             // a named wait begins; "": it is over
  std::function<void(const sandbox::ResourceUse&)> used;  // when its process has ended; may be empty
};

// Runs the step and captures its layer. Error(kFailed) `process "/bin/sh -c ..." did not complete
// successfully: exit code: N`. Thread-safe for different steps.
store::LayerRef execute_run(const RunStep& step, const RunInputs& inputs, Executor& executor);

}  // namespace corten::build
