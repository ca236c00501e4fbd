// Images to registries: only what the other side lacks is made and sent.
//
// A layer whose blob is known by digest from an earlier export is looked for over there first: when it is
// there, nothing of it is read or compressed. When a name already means these very bytes, one request is all.
#pragma once
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "image/export.h"
#include "registry/remote.h"

namespace corten::image {

// Sends blobs to one repository while later layers are still being made. Thread-safe.
class EarlyPush {
 public:
  EarlyPush(registry::Remote& remote, oci::Reference to, store::Store& store, unsigned jobs,
            std::vector<std::string> mount_from)
      : remote_(remote), to_(std::move(to)), store_(store), mount_from_(std::move(mount_from)), pool_(jobs) {}
  // Returns at once. What goes wrong is met again by push().
  void add(const oci::Descriptor& blob);
  // When all that was added is over there, or has failed.
  void finish() { pool_.wait(); }
  // Somebody else brought it there.
  void note(const oci::Reference& to, const Digest& blob, registry::Placed placed);
  // How the blob came there, if it did.
  std::optional<registry::Placed> placed(const oci::Reference& to, const Digest& blob);

 private:
  bool goes_to(const oci::Reference& to) const {
    return to.registry() == to_.registry() && to.repository() == to_.repository();
  }

  registry::Remote& remote_;
  oci::Reference to_;
  store::Store& store_;
  std::vector<std::string> mount_from_;
  std::mutex mutex_;
  std::map<Digest, registry::Placed> placed_;
  ThreadPool pool_;  // the last member: its threads end first
};

// A layer into a repository: nothing is read when it is there already, or can be mounted. Error(kLost) when
// it lies elsewhere and is not to be had. `early`, when there is one, is told.
void place_layer(const store::LayerRef& layer, const oci::Reference& to,
                 const std::vector<std::string>& mount_from, const Compression& compression,
                 registry::Remote& remote, store::Store& store, EarlyPush* early,
                 const Cancellation& cancellation);

struct PushOptions {
  ExportOptions form;
  bool by_digest = false;               // no tag is moved
  unsigned jobs = 4;                    // transfers at once
  std::vector<std::string> mount_from;  // repositories of the registry that may have layers
  // How far a blob is, from any thread; `placed` once it is over there.
  std::function<void(const oci::Descriptor& blob, uint64_t at, std::optional<registry::Placed> placed)> watch;
  Cancellation cancellation;
  EarlyPush* early = nullptr;  // what it sent is not asked for again
};

struct Pushed {
  oci::Descriptor root;     // of the manifest or index that the names mean now
  uint64_t sent_bytes = 0;  // of blobs
  size_t sent = 0, mounted = 0, there = 0;
  bool is_unchanged = true;  // every name meant it already
};

// "sent 2 of 5 blobs, 12MB; 1 mounted, 2 there before; 0.4 s".
std::string summary_of(const Pushed& pushed, int64_t took_ns);

// One name after the other: blobs go to the first, and are mounted for others of the same registry.
// Error(kInvalid) without a name.
Pushed push(const ImageSet& set, const std::vector<oci::Reference>& names, const PushOptions& options,
            registry::Remote& remote, store::Store& store);

}  // namespace corten::image
