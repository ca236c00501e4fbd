// Writing a cache: what steps gave goes out while later steps still run.
#pragma once
#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "cache/index.h"
#include "cache/place.h"
#include "image/layer_blobs.h"
#include "store/owners.h"
#include "store/store.h"

namespace corten::cache {

struct ExportOptions {
  bool is_max = false;  // blobs of all steps; else of the layers that images of the build have
  bool has_mounts = false;
  image::Compression compression;
  uint64_t max_bytes = 0;     // 0: no limit
  int64_t timeout_s = 600;    // after finish() was called
  unsigned transfers = 2;     // at once, beside the steps
  unsigned threads = 1;       // that compress
  store::Owners owners = {};  // of cache mounts
  Cancellation cancellation = {};
};

struct Exported {
  size_t entries = 0, new_entries = 0;  // in the cache now; of this build
  size_t sent_blobs = 0;
  uint64_t sent_bytes = 0, dropped_bytes = 0;
  bool is_contended = false;  // others wrote whenever we had: our entries may be missing
  size_t late = 0;            // layers and mounts for which the time did not suffice
  int64_t took_ns = 0;
};
// "12 steps, 3 of them new; sent 4 blobs, 12MB; 1.2 s".
std::string summary_of(const Exported& exported);

// Thread-safe. `store` is borrowed.
class Export {
 public:
  Export(store::Store& store, std::shared_ptr<Place> place, ExportOptions options);
  ~Export();

  // Returns at once. `forms`: the layer as images have it; empty: no image has it.
  void add(const Digest& key, const std::string& step, const store::LayerRef& layer,
           const std::vector<store::LayerRef>& forms, bool is_made = false);
  // A layer of a base image, whose blob lies in that place for all who read the cache.
  void add_base(const Digest& key, const store::LayerRef& layer, const LayerBlobRecord& record);
  void add_mount(const std::string& id);

  // When all of it is there, or the time is over: what is there then is in the cache. Error: the cache is as
  // it was.
  Exported finish();

 private:
  void send_layer(Entry entry, const std::vector<store::LayerRef>& forms, bool is_made);
  // Whether all blobs that an entry names are still there; those that are not are remembered.
  bool is_sound(const Entry& entry);
  void send_mount(const std::string& id);
  // The form's record, once its blob is over there.
  std::optional<LayerBlobRecord> send_blob(const store::LayerRef& form, const std::optional<Entry>& before);
  void put(const oci::Descriptor& blob,
           const std::function<std::unique_ptr<archive::ByteSource>(uint64_t)>& open);
  void put_bytes(const oci::Descriptor& blob, const std::string& bytes);
  bool is_late() const { return is_late_; }
  Index* before();  // what is there; null: nothing, or it cannot be read
  void write(Exported& result);
  void failed(const std::exception_ptr& error);

  store::Store& store_;
  std::shared_ptr<Place> place_;
  const ExportOptions options_;
  std::atomic<bool> is_late_ = false;
  std::mutex mutex_;  // guards what follows
  Contents made_;
  std::map<Digest, std::shared_future<void>> putting_;
  std::set<Digest> gone_;  // blobs that the manifest there names, and the place has lost
  std::set<std::string> mounts_;
  Exported result_;
  std::exception_ptr error_;
  std::optional<Index> read_;
  std::shared_future<Index*> index_;
  ThreadPool pool_;  // the last member: its threads end first
};

}  // namespace corten::cache
