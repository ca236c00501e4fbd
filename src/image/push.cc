#include "image/push.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <mutex>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/trace.h"
#include "oci/manifest.h"

namespace corten::image {

namespace {

class BlobFile : public archive::ByteSource {
 public:
  BlobFile(const std::string& path, uint64_t offset)
      : fd_(open_file(path, O_RDONLY)), from_(fd_.get(), path) {
    if (lseek(fd_.get(), static_cast<off_t>(offset), SEEK_SET) < 0) fail_errno("seek {}", path);
  }
  size_t read(void* data, size_t size) override { return from_.read(data, size); }

 private:
  UniqueFd fd_;
  archive::FdSource from_;
};

// `make` puts it into the store: only when it is read, and so only when the other side does not have it.
registry::OutgoingBlob outgoing_blob(const oci::Descriptor& blob, const std::vector<std::string>& mount_from,
                                     store::Store& store, std::function<void()> make = {}) {
  return {blob,
          [path = store.blob_path(blob.digest), make = std::move(make)](uint64_t offset) {
            if (make) make();
            return std::make_unique<BlobFile>(path, offset);
          },
          mount_from};
}

bool is_manifest(const oci::Descriptor& blob) {
  return oci::is_index_type(blob.media_type) || oci::is_manifest_type(blob.media_type);
}

// A set on its way to one registry.
class Push {
 public:
  Push(const ImageSet& set, const PushOptions& options, registry::Remote& remote, store::Store& store)
      : set_(set), options_(options), remote_(remote), store_(store) {}

  Pushed run(const std::vector<oci::Reference>& names) {
    note_layers();
    // All blobs known by digest: then so is the manifest, and whether there is anything to do.
    std::optional<Exported> known = documents_when_known();
    std::vector<std::string> filled = options_.mount_from;
    std::string registry;
    for (const oci::Reference& name : names) {
      if (known && is_there(name, known->root.digest)) {
        pushed_.root = known->root;
        continue;
      }
      pushed_.is_unchanged = false;
      if (name.registry() != registry) filled = options_.mount_from;
      registry = name.registry();
      const bool is_filled = filled_ == std::pair(registry, name.repository());
      if (!is_filled) push_layers(name, filled);
      const Exported exported = documents();
      if (!is_filled) push_configs(exported, name, filled);
      put_manifests(exported, name);
      filled_ = {registry, name.repository()};
      filled.push_back(name.repository());
      known = exported;
      pushed_.root = exported.root;
    }
    return pushed_;
  }

 private:
  void note_layers() {
    for (const store::Image& image : set_.images)
      for (const store::LayerRef& layer : image.layers)
        if (blobs_.emplace(layer, known_blob(layer, options_.form.compression, store_)).second)
          layers_.push_back(layer);
  }

  Exported documents() {
    return make_exported(set_, options_.form, store_,
                         [&](const store::LayerRef& layer) { return blobs_.at(layer).value(); });
  }
  std::optional<Exported> documents_when_known() {
    for (const auto& [layer, blob] : blobs_)
      if (!blob) return std::nullopt;
    return documents();
  }

  bool is_there(const oci::Reference& name, const Digest& root) {
    const oci::Reference asked =
        options_.by_digest ? name.repository_only().with_digest(root) : name.without_digest();
    bool is_lent = false;
    auto found = remote_.find(asked, &is_lent);
    return found && found->digest == root && !is_lent;
  }

  void push_layers(const oci::Reference& name, const std::vector<std::string>& mount_from) {
    TraceSpan span("push layers");
    std::mutex mutex;
    parallel_for(layers_.size(), options_.jobs, [&](size_t i) {
      options_.cancellation.check();
      const store::LayerRef& layer = layers_[i];
      std::optional<oci::Descriptor> blob;
      {
        std::lock_guard lock(mutex);
        blob = blobs_.at(layer);
      }
      if (!blob)
        blob = ensure_blob(layer, options_.form.compression, options_.form.threads, store_,
                           options_.cancellation);
      send(*blob, name, mount_from, [&] {
        if (store_.has_blob(blob->digest)) return;
        const oci::Descriptor made = ensure_blob(layer, options_.form.compression, options_.form.threads,
                                                 store_, options_.cancellation);
        if (made.digest != blob->digest)
          fail(ErrorCode::kCorrupt, "layer {}: its blob was {}, and is {} now", layer.id.short_hex(),
               blob->digest.to_string(), made.digest.to_string());
      });
      std::lock_guard lock(mutex);
      blobs_.at(layer) = blob;
    });
  }

  void push_configs(const Exported& exported, const oci::Reference& name,
                    const std::vector<std::string>& mount_from) {
    for (const oci::Descriptor& blob : exported.blobs)
      if (oci::is_config_type(blob.media_type)) send(blob, name, mount_from);
  }

  void send(const oci::Descriptor& blob, const oci::Reference& name,
            const std::vector<std::string>& mount_from, const std::function<void()>& make = {}) {
    const registry::OutgoingBlob outgoing = outgoing_blob(blob, mount_from, store_, make);
    std::optional<registry::Placed> early;
    if (options_.early) early = options_.early->placed(name, blob.digest);
    const registry::Placed placed = early ? *early : remote_.push_blob(name, outgoing, [&](uint64_t at) {
      if (options_.watch) options_.watch(blob, at, std::nullopt);
    });
    if (options_.watch) options_.watch(blob, blob.size, placed);
    std::lock_guard lock(counts_);
    if (placed == registry::Placed::kSent) pushed_.sent++, pushed_.sent_bytes += blob.size;
    if (placed == registry::Placed::kMounted) pushed_.mounted++;
    if (placed == registry::Placed::kThere) pushed_.there++;
  }

  // Children before their index, the name last: what a name means is whole at every moment.
  void put_manifests(const Exported& exported, const oci::Reference& name) {
    const auto put = [&](const oci::Descriptor& blob, const oci::Reference& as) {
      remote_.put_manifest(as, store_.read_blob(blob.digest, oci::kMaxManifestBytes), blob.media_type);
    };
    for (const oci::Descriptor& blob : exported.blobs)
      if (is_manifest(blob) && blob.digest != exported.root.digest)
        put(blob, name.repository_only().with_digest(blob.digest));
    put(exported.root, options_.by_digest ? name.repository_only().with_digest(exported.root.digest)
                                          : name.without_digest());
  }

  const ImageSet& set_;
  const PushOptions& options_;
  registry::Remote& remote_;
  store::Store& store_;
  std::vector<store::LayerRef> layers_;  // each once
  std::map<store::LayerRef, std::optional<oci::Descriptor>> blobs_;
  std::pair<std::string, std::string> filled_;  // registry and repository that have all blobs
  std::mutex counts_;
  Pushed pushed_;
};

}  // namespace

Pushed push(const ImageSet& set, const std::vector<oci::Reference>& names, const PushOptions& options,
            registry::Remote& remote, store::Store& store) {
  if (names.empty())
    throw Error(ErrorCode::kUsage, "nothing says where to push to").with_hint("name it: -t HOST/NAME:TAG");
  return Push(set, options, remote, store).run(names);
}

void place_layer(const store::LayerRef& layer, const oci::Reference& to,
                 const std::vector<std::string>& mount_from, const Compression& compression,
                 registry::Remote& remote, store::Store& store, EarlyPush* early,
                 const Cancellation& cancellation) {
  const auto blob = known_blob(layer, compression, store);
  if (!blob) return store.layers().need({layer.id});
  registry::OutgoingBlob outgoing{*blob, {}, mount_from};
  std::exception_ptr lost;  // is no failure of the transfer
  outgoing.open = [&](uint64_t offset) {
    try {
      ensure_blob(layer, compression, 1, store, cancellation);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kLost) lost = std::current_exception();
      throw;
    }
    return std::make_unique<BlobFile>(store.blob_path(blob->digest), offset);
  };
  try {
    const registry::Placed placed = remote.push_blob(to, outgoing);
    if (early) early->note(to, blob->digest, placed);
  } catch (const Error&) {
    if (lost) std::rethrow_exception(lost);
    throw;
  }
}

std::string summary_of(const Pushed& pushed, int64_t took_ns) {
  if (pushed.is_unchanged)
    return fmt::format("the registry had all of it, {:.1f} s", static_cast<double>(took_ns) / 1e9);
  return fmt::format("sent {} of {} blobs, {}; {} mounted, {} there before; {:.1f} s", pushed.sent,
                     pushed.sent + pushed.mounted + pushed.there, human_size(pushed.sent_bytes),
                     pushed.mounted, pushed.there, static_cast<double>(took_ns) / 1e9);
}

void EarlyPush::add(const oci::Descriptor& blob) {
  pool_.submit([this, blob] {
    try {
      note(to_, blob.digest, remote_.push_blob(to_, outgoing_blob(blob, mount_from_, store_)));
    } catch (const Error&) {
      return;  // push() meets it again, and tells it.
    }
  });
}

void EarlyPush::note(const oci::Reference& to, const Digest& blob, registry::Placed placed) {
  if (!goes_to(to)) return;
  std::lock_guard lock(mutex_);
  placed_.emplace(blob, placed);
}

std::optional<registry::Placed> EarlyPush::placed(const oci::Reference& to, const Digest& blob) {
  if (!goes_to(to)) return std::nullopt;
  std::lock_guard lock(mutex_);
  auto found = placed_.find(blob);
  return found == placed_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace corten::image
