// Layers and their bodies: the manifest, the directory that an overlay stands on, the tar and the blobs.
#pragma once
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "base/path.h"
#include "store/contents.h"
#include "store/database.h"
#include "store/lease.h"
#include "store/owners.h"
#include "store/tree.h"

namespace corten::store {

struct LayerDiff {
  DiffId diff_id;
  uint64_t tar_bytes = 0;
  bool operator==(const LayerDiff&) const = default;
};

// A compressed form of a tar, lying in blobs/ (or remembered as known elsewhere).
struct LayerBlob {
  Digest digest;
  uint64_t size = 0;
};

// Where a layer lies that is not here: a blob of a repository of a registry, a directory, a bucket.
struct LayerPlace {
  std::string place;       // as the supply knows it (cache/supply.h)
  std::string media_type;  // of the blob
  Digest blob;             // of its compressed tar
  uint64_t size = 0;
};

// Fetches what a layer's manifest names and the store lacks, from one of its places, into the contents.
// Throws when none gives it; Error(kCorrupt) when one gave another layer. Called from several threads, for
// different layers.
using LayerSupply =
    std::function<void(const Digest& layer, const Manifest& manifest, const std::vector<LayerPlace>& places)>;

// Fetches single files of a layer; false when it cannot, and the whole layer is asked for.
using FileSupply = std::function<bool(const Digest& layer, const Manifest& manifest,
                                      const std::vector<const Entry*>& files)>;

// Thread-safe.
class Layers {
 public:
  Layers(std::string root, Database& database, Contents& contents, Lease& lease);

  // Writes the manifest down; all its contents must be in the store. Gives the layer's id.
  Digest save(Manifest manifest);
  // Whoever asks for a layer, or gets one, holds it with all its contents, bodies and blobs (lease.h).
  bool has(const Digest& id);
  // Error(kCorrupt) when it is missing or its bytes have another digest.
  std::shared_ptr<const Manifest> load(const Digest& id);
  RootfsView view(const Rootfs& rootfs);

  // --- Layers that are known, and not here (absent_layers.cc; docs/decisions/0011) ---
  // Writes the manifest of a layer whose contents may be missing. Without a place it can be compared and
  // stood above, and is lost to whoever wants its contents. One that is whole stays so.
  Digest save_absent(Manifest manifest, const std::vector<LayerPlace>& places);
  // Whether all its contents are here, for a layer that is here at all.
  bool is_whole(const Digest& id);
  // Whether it is here, and its contents may not be.
  bool is_absent(const Digest& id);
  std::vector<LayerPlace> places(const Digest& id);
  // Who has read the whole tar of an absent layer says so: false when it is not what was said of the layer
  // before anybody had read it (a cache is wrong). Else nothing but this is left of what was said.
  bool confirm_diff(const Digest& id, const DiffId& read);
  // They are whole when it returns: those that are absent are fetched, several at once. Error(kLost): one is
  // nowhere; it has been forgotten, with all actions that gave it.
  void need(const std::vector<Digest>& ids);
  void need(const Rootfs& rootfs);
  // The layers of the stack in which these paths are found.
  void need_for(const Rootfs& rootfs, const std::vector<RootfsPath>& paths);
  // Their contents are here when it returns; the layer may stay absent when they are few.
  void need_files(const Digest& id, const std::vector<const Entry*>& files);
  // The stack as a tree whose ingest() needs the files that it is given.
  std::shared_ptr<const Tree> tree(const Rootfs& rootfs);
  // What is asked for absent layers; before the first of them is needed. Without one they are lost.
  void set_supply(LayerSupply supply, FileSupply files = {}) {
    supply_ = std::move(supply);
    file_supply_ = std::move(files);
  }

  // The directory body with owners as this machine has them, made from the contents when it is missing.
  HostPath directory(const LayerRef& layer, const Owners& owners);
  // Saves the manifest of a captured upper, which becomes the layer's directory body and the home of its
  // contents; when there is a body already, the upper stays.
  LayerRef adopt(const Manifest& manifest, int64_t time, const Owners& owners, const HostPath& upper);
  // Removes a directory body, or a delta; contents that have their home in it get a file of their own first.
  // `homes` is contents().homes(). While nobody else uses the store.
  void remove_body(const std::string& path, const Contents::Homes& homes);

  // What an overlay stands on for this layer, the uppermost first: its directory body, or small directories
  // over the body of an earlier version of it (store/delta.h). `is_below` tells whether the layers beneath,
  // in the stack that is meant, have that path.
  std::vector<HostPath> lowers(const LayerRef& layer, const Owners& owners,
                               const std::function<bool(const RootfsPath&)>& is_below);

  // The layer is what a step of this family gave now: the family's last layer is its predecessor. A family is
  // whatever is likely to give much the same layer the next time; a wrong guess costs a comparison.
  void succeed(const Digest& family, const LayerRef& layer);
  std::optional<LayerRef> predecessor(const LayerRef& layer);
  // The last layer of a family, if it is there; held from here on.
  std::shared_ptr<const Manifest> latest(const Digest& family);

  std::optional<LayerDiff> find_diff(const LayerRef& layer);
  // `checkpoints` and `recipe` are what image/layer_reuse.cc notes down for a later version of the layer.
  void remember_diff(const LayerRef& layer, const LayerDiff& diff, std::string_view checkpoints = {});
  std::string find_checkpoints(const LayerRef& layer);
  std::vector<LayerRef> find_layers(const DiffId& diff_id);
  // `format` names the encoder with all that decides its bytes: "gz1", "zstd-3", "as-pulled".
  std::optional<LayerBlob> find_blob(const DiffId& diff_id, std::string_view format);
  void remember_blob(const DiffId& diff_id, std::string_view format, const LayerBlob& blob,
                     std::string_view recipe = {});
  std::string find_recipe(const DiffId& diff_id, std::string_view format);
  // Writes down when bodies were used, all at once.
  void save_uses(int64_t now);
  bool has_uses();

 private:
  std::string manifest_path(const Digest& id) const;
  std::string directory_path(const LayerRef& layer, const std::string& mapping) const;
  void note_body(const LayerRef& layer, const Owners& owners);
  bool place_body(const LayerRef& layer, const Owners& owners, const std::string& made);
  std::optional<std::vector<HostPath>> known_lowers(
      const std::string& body, size_t depth, const std::function<bool(const RootfsPath&)>& is_below) const;
  bool make_delta_body(const LayerRef& layer, const Owners& owners);
  std::optional<LayerRef> base_of_delta(const LayerRef& layer, const Owners& owners);
  std::optional<size_t> depth_of_body(const std::string& body) const;

  void write_manifest(const Digest& id, std::string_view bytes);
  void note_layer(const Digest& id, const Manifest& manifest);
  Digest save(Manifest manifest, bool keeps_diffs);
  void now_whole(const Digest& id, bool keeps_diffs);  // in a transaction
  void forget_said_diffs(const Digest& id);
  void fetch(const Digest& id);
  void forget(const Digest& id);

  std::string root_;
  Database& database_;
  Contents& contents_;
  Lease& lease_;
  LayerSupply supply_;
  FileSupply file_supply_;
  std::mutex mutex_;
  std::condition_variable fetched_;
  std::set<Digest> fetching_;
  std::map<Digest, std::shared_ptr<const Manifest>> loaded_;
  std::set<std::tuple<Digest, int64_t, std::string>> used_bodies_;
};

}  // namespace corten::store
