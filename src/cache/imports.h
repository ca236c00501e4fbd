// Reading caches: entries for keys, layers when somebody wants their bytes, cache mounts.
//
// Whatever goes wrong is a miss, and one warning for each cache: who cannot read a cache builds without it.
#pragma once
#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "build/caches.h"
#include "cache/buildkit_records.h"
#include "cache/index.h"
#include "cache/place.h"
#include "store/store.h"

namespace corten::cache {

class BuildkitLookup;

// Told once a cache: how its index was read, and what went wrong. From any thread.
struct ImportWatch {
  Cancellation cancellation = {};  // of the build
  int patience_ms = 15'000;        // with a place that does not show its index
  std::function<void(const std::string& place, const std::string& error)> ended;  // "" is well
  std::function<void(const std::string&)> warn;
};

// Thread-safe. `store` is borrowed.
class Imports {
 public:
  // Reading begins at once, beside whatever the caller does next.
  Imports(store::Store& store, std::vector<std::shared_ptr<Place>> places, ImportWatch watch);
  ~Imports();

  // The entry is in the store then. Not the same layer again once it was lost. `below`: the layers on which
  // it lies, for a cache that has it as a tar alone. `base`: the place of a base image's blobs, as the build
  // itself resolved it; a cache cannot send us anywhere else.
  std::optional<store::Action> find(const Digest& key, const store::Rootfs& below = {},
                                    const std::string& base = {});
  // The same of caches whose keys are not ours, between begin() and end() (build::Caches).
  std::optional<store::Action> find_foreign(const Digest& key, const store::Rootfs& below,
                                            build::StepId step);
  std::vector<bool> foresee();
  std::optional<store::LayerRef> foreseen(build::StepId step, const store::Rootfs& below);
  void begin(const build::Plan& plan, const build::Request& request, build::Caches::FilesOf files);
  void end();
  struct Mount {
    Place* place;
    MountState entry;
  };
  // The latest of all caches.
  std::optional<Mount> find_mount(const std::string& id);
  // Bytes for people: what was read of layers and mounts, and how much the layers have that stayed there.
  struct Traffic {
    uint64_t fetched_layers = 0, fetched_bytes = 0, left_layers = 0, left_bytes = 0, mount_bytes = 0;
  };
  Traffic traffic() const;
  void note_fetched(const Digest& layer, uint64_t bytes);
  void note_mount(uint64_t bytes);
  // The form of a layer of which single files can be read, as an entry said in this build.
  struct InParts {
    std::shared_ptr<Place> place;
    LayerBlobRecord record;
  };
  std::optional<InParts> in_parts(const Digest& layer) const;
  // What lies below a layer of a base image, for whoever proves it by its tar.
  void note_base(const Digest& layer, const store::Rootfs& below);
  std::optional<store::Rootfs> below_base(const Digest& layer) const;
  // Something that was read is wrong: told, unless this cache has been told of.
  void failed(Place& place, const std::string& what);

 private:
  struct Source {
    std::shared_ptr<Place> place;
    std::optional<Index> read;
    std::vector<BuildkitRecords> buildkit;  // instead
    bool is_told = false;
    std::atomic<bool> is_given_up = false;
    int64_t began_ns = 0;
    std::shared_future<std::optional<Index>*> index;  // the last member: its thread uses the others
  };
  // Waits until it has been read; null: there is none.
  Index* index_of(Source& source);
  bool wait_for(Source& source);
  std::optional<store::Action> take(Source& source, const Entry& entry, const store::Rootfs& below,
                                    const std::string& base);
  void rebuild(Source& source, const Entry& entry, const store::Rootfs& below);
  store::LayerRef take_foreign(Source& source, const BuildkitLayer& layer, const store::Rootfs& below);
  BuildkitLookup* lookup();  // foreign_mutex_ is held

  store::Store& store_;
  ImportWatch watch_;
  mutable std::mutex mutex_;  // guards what follows
  std::set<Digest> given_;    // layers
  std::map<Digest, InParts> in_parts_;
  std::map<Digest, store::Rootfs> below_bases_;
  std::map<Digest, uint64_t> absent_bytes_, fetched_;
  uint64_t mount_bytes_ = 0;
  std::mutex foreign_mutex_;  // guards what a build looks up in foreign caches
  std::function<std::unique_ptr<BuildkitLookup>()> begin_foreign_;
  std::unique_ptr<BuildkitLookup> foreign_;
  std::vector<std::unique_ptr<Source>> sources_;  // the last member: its threads use the others
};

// Opens a place by the name that a layer's row has; null for one that cannot be opened here.
using OpenPlace = std::function<std::shared_ptr<Place>(const std::string& name)>;

// What reads single files of them (files_in_blobs.cc).
store::FileSupply make_file_supply(store::Store& store, const std::shared_ptr<Imports>& imports);

// What fetches absent layers, for store::Layers::set_supply. Of a base's layer the blob stays in the store:
// images carry it as it came.
store::LayerSupply make_supply(store::Store& store, OpenPlace open, const std::shared_ptr<Imports>& imports);

}  // namespace corten::cache
