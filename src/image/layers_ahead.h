// What the image will need of a layer, made while later steps still run: a diff id is a hash over all bytes
// of the layer, and a RUN above it needs it as little as the hash needs the RUN.
#pragma once
#include <functional>
#include <optional>
#include <set>

#include "base/thread_pool.h"
#include "image/layer_blobs.h"

namespace corten::image {

// Thread-safe. What goes wrong is not told here: who needs the layer makes it himself then, and meets it.
class LayersAhead {
 public:
  struct Options {
    std::optional<Compression> blobs;                  // also the layers' blobs of this kind
    std::function<void(const oci::Descriptor&)> made;  // a blob is in the store; from any thread
    unsigned threads = 1;
    Cancellation cancellation = {};
  };
  LayersAhead(store::Store& store, const Options& options)
      : store_(store), options_(options), pool_(options.threads) {}

  // Returns at once.
  void add(const store::LayerRef& layer);
  // When all that was added is made.
  void finish() { pool_.wait(); }

 private:
  void make(const store::LayerRef& layer);

  store::Store& store_;
  Options options_;
  std::mutex mutex_;
  std::set<store::LayerRef> begun_;
  ThreadPool pool_;  // the last member: its threads end first
};

}  // namespace corten::image
