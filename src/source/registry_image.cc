#include "source/registry_image.h"

#include <mutex>
#include <set>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/trace.h"
#include "oci/index.h"
#include "oci/manifest.h"
#include "source/layer_import.h"

namespace corten::source {

namespace {

constexpr size_t kMaxImages = 1000;  // of one index

std::string platforms_of(const oci::Index& index) {
  std::vector<std::string> names;
  for (const oci::Descriptor& entry : index.manifests)
    if (entry.platform && !oci::is_attestation(entry)) names.push_back(entry.platform->format());
  return join(names, ", ");
}

// Of several downloads together. They are told of in steps: each is a line's worth of work for whoever shows
// it.
class ByteCount {
 public:
  explicit ByteCount(const BaseImage::Progress& progress) : progress_(progress) {}
  void expect(uint64_t size) {
    std::lock_guard lock(mutex_);
    total_ += size;
  }
  // One of them, which may have begun again.
  void moved(uint64_t before, uint64_t at) {
    constexpr uint64_t kStep = 256 << 10;
    std::lock_guard lock(mutex_);
    at_ += at - before;
    if (!progress_ || (at_ / kStep == told_ / kStep && at_ != total_)) return;
    told_ = at_;
    progress_(at_, total_);
  }

 private:
  const BaseImage::Progress& progress_;
  std::mutex mutex_;
  uint64_t at_ = 0, total_ = 0, told_ = 0;
};

}  // namespace

std::string RegistryImages::document(const oci::Reference& reference, oci::Descriptor& descriptor) {
  if (reference.digest() && store_.has_blob(*reference.digest())) {
    std::string bytes = store_.read_blob(*reference.digest(), oci::kMaxManifestBytes);
    descriptor = oci::describe(oci::detect_manifest_type(bytes), bytes);
    return bytes;
  }
  if (!reference.digest()) {
    // HEAD counts as no pull where pulls are counted, and is answered from memory.
    auto found = remote_().find(reference);
    if (!found)
      throw Error(ErrorCode::kNotFound,
                  fmt::format("{}: the registry has no such image", reference.familiar()))
          .with_hint("look at the name and the tag with 'corten tags " +
                     reference.repository_only().familiar() + "'");
    return document(reference.with_digest(found->digest), descriptor);
  }
  registry::RemoteManifest found = remote_().manifest(reference);
  store_.write_blob(found.bytes);
  descriptor = found.descriptor;
  return found.bytes;
}

Digest RegistryImages::resolve(const oci::Reference& reference) {
  oci::Descriptor descriptor;
  document(reference, descriptor);
  return descriptor.digest;
}

std::optional<RegistryImages::Found> RegistryImages::find(const oci::Reference& reference,
                                                          const oci::Platform& platform, bool is_offline) {
  constexpr int kMaxDepth = 4;
  Found found;
  oci::Reference asked = reference;
  for (int depth = 0;; depth++) {
    if (is_offline && (!asked.digest() || !store_.has_blob(*asked.digest()))) return std::nullopt;
    found.bytes = document(asked, found.descriptor);
    found.digests.push_back(found.descriptor.digest);
    if (!oci::is_index_type(found.descriptor.media_type)) return found;
    if (depth > kMaxDepth) fail(ErrorCode::kInvalid, "{}: indexes nest too deep", reference.familiar());
    const oci::Index index = oci::parse_index(found.bytes, found.descriptor.media_type);
    const oci::Descriptor* chosen = oci::choose_manifest(index, platform);
    if (!chosen)
      throw Error(ErrorCode::kNotFound,
                  fmt::format("{}: no image for platform {}", reference.familiar(), platform.format()))
          .with_hint("it has " + platforms_of(index));
    asked = reference.repository_only().with_digest(chosen->digest);
  }
}

BaseImage RegistryImages::image(const oci::Reference& reference, const oci::Platform& platform) {
  TraceSpan span("ask the registry for an image");
  const Found found = *find(reference, platform, false);
  return open(reference, found.descriptor, found.bytes, found.digests);
}

std::optional<BaseImage> RegistryImages::stored_image(const oci::Reference& reference,
                                                      const oci::Platform& platform) {
  const auto found = find(reference, platform, true);
  if (!found) return std::nullopt;
  const oci::Manifest manifest = oci::parse_manifest(found->bytes, found->descriptor.media_type);
  if (!store_.has_blob(manifest.config.digest)) return std::nullopt;
  BaseImage image = open(reference, found->descriptor, found->bytes, found->digests);
  for (size_t i = 0; i < manifest.layers.size(); i++)
    if (!imported_layer(manifest.layers[i], image.config.diff_ids[i], store_) &&
        !has_layer_blob(manifest.layers[i], store_))
      return std::nullopt;
  return image;
}

LayoutImages RegistryImages::images(const oci::Reference& reference) {
  LayoutImages found;
  oci::Descriptor descriptor;
  const std::string bytes = document(reference, descriptor);
  if (!oci::is_index_type(descriptor.media_type)) {
    found.images.push_back(open(reference, descriptor, bytes, {descriptor.digest}));
    found.platforms.push_back(found.images.back().config.platform);
    return found;
  }
  found.is_index = true;
  for (const oci::Descriptor& entry : oci::parse_index(bytes, descriptor.media_type).manifests) {
    if (oci::is_attestation(entry) || oci::is_index_type(entry.media_type)) continue;
    if (found.images.size() == kMaxImages)
      fail(ErrorCode::kInvalid, "{}: more than {} images", reference.familiar(), kMaxImages);
    oci::Descriptor member;
    const std::string document_bytes =
        document(reference.repository_only().with_digest(entry.digest), member);
    found.images.push_back(open(reference, member, document_bytes, {descriptor.digest, member.digest}));
    found.platforms.push_back(entry.platform ? *entry.platform : found.images.back().config.platform);
  }
  return found;
}

BaseImage RegistryImages::open(const oci::Reference& reference, const oci::Descriptor& descriptor,
                               const std::string& bytes, std::vector<Digest> digests) {
  const oci::Manifest manifest = oci::parse_manifest(bytes, descriptor.media_type);
  if (!manifest.is_image())
    fail(ErrorCode::kInvalid, "{}: it is no image, but {}", reference.familiar(),
         quote(manifest.artifact_type.empty() ? manifest.config.media_type : manifest.artifact_type));
  std::string config;
  if (store_.has_blob(manifest.config.digest)) {
    config = store_.read_blob(manifest.config.digest, oci::kMaxConfigBytes);
  } else {
    config = remote_().read_blob(reference, manifest.config, oci::kMaxConfigBytes);
    store_.write_blob(config);
  }
  BaseImage image;
  image.name = reference.familiar();
  image.identity = manifest.config.digest;  // as of an image of the store: it is the same one
  image.manifests = std::move(digests);
  image.config = oci::parse_config(config).config;
  image.remote = {reference.name(), manifest.layers};
  const std::vector<DiffId> diff_ids = image.config.diff_ids;
  if (diff_ids.size() != manifest.layers.size())
    fail(ErrorCode::kInvalid, "{}: {} layers, but {} diff ids", reference.familiar(), manifest.layers.size(),
         diff_ids.size());
  struct State {
    std::mutex mutex;
    std::optional<store::Rootfs> layers;
  };
  auto state = std::make_shared<State>();
  image.progress = std::make_shared<BaseImage::Progress>();
  image.layers = [this, reference, manifest, diff_ids, state, progress = image.progress] {
    std::lock_guard lock(state->mutex);
    if (!state->layers) state->layers = fetch_layers(reference, manifest, diff_ids, *progress);
    return *state->layers;
  };
  return image;
}

store::Rootfs RegistryImages::fetch_layers(const oci::Reference& reference, const oci::Manifest& manifest,
                                           const std::vector<DiffId>& diff_ids,
                                           const BaseImage::Progress& progress) {
  std::set<Digest> expected;
  ByteCount counted(progress);
  for (size_t i = 0; i < manifest.layers.size(); i++) {
    const oci::Descriptor& blob = manifest.layers[i];
    if (!imported_layer(blob, diff_ids[i], store_) && !has_layer_blob(blob, store_) &&
        expected.insert(blob.digest).second)
      counted.expect(blob.size);
  }
  const BlobFetch fetch = [&](const oci::Descriptor& blob, int fd,
                              const std::function<void(uint64_t)>& reached) {
    remote_().fetch_blob(reference, blob, fd, [&, before = uint64_t{0}](uint64_t at) mutable {
      reached(at);
      counted.moved(before, at);
      before = at;
      if (options_.watch) options_.watch(blob, at);
    });
  };
  return import_layers(manifest.layers, diff_ids, options_.jobs, fetch, store_);
}

}  // namespace corten::source
