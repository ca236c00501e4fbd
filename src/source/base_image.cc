#include "source/base_image.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>

#include <fmt/core.h>

#include "archive/compression.h"
#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "oci/layout.h"
#include "store/layer_tar.h"

namespace corten::source {

namespace {

constexpr uint64_t kMaxLayerBytes = uint64_t{1} << 40;

// A layout's files are opened beneath its directory, so a link in it cannot lead out.
class LayoutDirectory {
 public:
  explicit LayoutDirectory(const HostPath& path)
      : path_(path.value), fd_(open_file(path.value, O_RDONLY | O_DIRECTORY)) {}

  UniqueFd open(const std::string& name) const {
    auto fd = open_no_links(fd_.get(), name, O_RDONLY | O_NONBLOCK);
    if (!fd) fail(ErrorCode::kNotFound, "OCI layout {}: {} is missing", path_, name);
    struct stat st;
    if (fstat(fd->get(), &st) != 0 || !S_ISREG(st.st_mode))
      fail(ErrorCode::kInvalid, "OCI layout {}: {} is not a regular file", path_, name);
    return std::move(*fd);
  }
  std::string read(const std::string& name, size_t max_bytes) const {
    UniqueFd fd = open(name);
    return read_all(fd.get(), path_ + "/" + name, max_bytes);
  }
  std::string blob(const oci::Descriptor& descriptor, size_t max_bytes) const {
    UniqueFd fd = open(oci::blob_path(descriptor.digest));
    archive::FdSource from(fd.get(), path_);
    archive::VerifyingSource verified(from, descriptor.digest, descriptor.size,
                                      "blob " + descriptor.digest.to_string());
    return archive::read_rest(verified, max_bytes);
  }
  const std::string& path() const { return path_; }
  bool has(const oci::Descriptor& descriptor) const {
    return open_no_links(fd_.get(), oci::blob_path(descriptor.digest), O_PATH).has_value();
  }

 private:
  std::string path_;
  UniqueFd fd_;
};

constexpr int kMaxDepth = 4;         // of indexes in indexes
constexpr size_t kMaxImages = 1000;  // that one name may mean

oci::Descriptor find_root(const LayoutDirectory& layout, std::string_view name) {
  oci::check_layout_file(layout.read(std::string(oci::kLayoutFileName), 4096));
  oci::Index index =
      oci::parse_index(layout.read(std::string(oci::kLayoutIndexName), oci::kMaxManifestBytes));
  return oci::find_in_layout(index, name);
}

std::string platforms_of(const oci::Index& index) {
  std::vector<std::string> names;
  for (const oci::Descriptor& entry : index.manifests)
    if (entry.platform && !oci::is_attestation(entry)) names.push_back(entry.platform->format());
  return join(names, ", ");
}

oci::Descriptor find_manifest(const LayoutDirectory& layout, std::string_view name,
                              const oci::Platform& platform) {
  oci::Descriptor found = find_root(layout, name);
  for (int depth = 0; oci::is_index_type(found.media_type); depth++) {
    if (depth > kMaxDepth) fail(ErrorCode::kInvalid, "OCI layout {}: indexes nest too deep", layout.path());
    oci::Index inner = oci::parse_index(layout.blob(found, oci::kMaxManifestBytes), found.media_type);
    const oci::Descriptor* chosen = oci::choose_manifest(inner, platform);
    if (!chosen)
      throw Error(ErrorCode::kNotFound,
                  fmt::format("OCI layout {}: no image for platform {}", layout.path(), platform.format()))
          .with_hint("it has " + platforms_of(inner));
    found = oci::Descriptor(*chosen);
  }
  return found;
}

}  // namespace

// The imported form is the one whose members all have times of their own, so that the layer's is 0. One that
// was built here has the same tar and no blob of others: what is exported must not depend on who was here
// first.
// For the same reason a layer that comes in another compression than the last time is taken in again: what is
// built on it carries it as this base has it.
std::optional<store::LayerRef> imported_layer(const oci::Descriptor& descriptor, const DiffId& diff_id,
                                              store::Store& store) {
  auto blob = store.layers().find_blob(diff_id, "as-pulled");
  if (!blob || blob->digest != descriptor.digest || blob->size != descriptor.size ||
      !store.has_blob(descriptor.digest))
    return std::nullopt;
  for (const store::LayerRef& known : store.layers().find_layers(diff_id))
    if (known.time == 0 && store.layers().has(known.id) && store.layers().is_whole(known.id)) return known;
  return std::nullopt;
}

store::LayerRef import_layer(archive::ByteSource& blob, const oci::Descriptor& descriptor,
                             const DiffId& diff_id, const store::Rootfs& below, store::Store& store) {
  if (auto known = imported_layer(descriptor, diff_id, store)) return *known;
  TempDir place = store.temporary("import-");
  UniqueFd copy = open_file(place / "blob", O_WRONLY | O_CREAT | O_EXCL, 0644);
  archive::VerifyingSource verified(blob, descriptor.digest, descriptor.size,
                                    "layer " + descriptor.digest.to_string());
  archive::FdSink sink(copy.get(), place / "blob");
  archive::copy_all(verified, sink);
  copy.close_checked("layer blob");
  return import_layer_file(place / "blob", descriptor, diff_id, below, store);
}

// The blob is kept as it came: its digest is what registries and other machines know.
store::LayerRef import_layer_file(const std::string& file, const oci::Descriptor& descriptor,
                                  const DiffId& diff_id, const store::Rootfs& below, store::Store& store) {
  UniqueFd blob = open_file(file, O_RDONLY);
  archive::FdSource bytes(blob.get(), file);
  auto expanded = archive::open_decompressor(bytes);
  archive::LimitedSource limited(*expanded, kMaxLayerBytes, "layer " + descriptor.digest.to_string());
  archive::HashingSource hashing(limited);
  store::RootfsView view = store.layers().view(below);
  store::Manifest manifest = store::read_layer_tar(hashing, view, store.contents());
  archive::drain(hashing);
  uint64_t tar_bytes = hashing.size();
  if (Digest got = hashing.digest(); got != diff_id.digest)
    fail(ErrorCode::kCorrupt, "layer {}: its tar is {}, the config says {}", descriptor.digest.to_string(),
         got.to_string(), diff_id.digest.to_string());
  store::LayerRef layer{store.layers().save(manifest), 0};
  store.place_blob(file, descriptor.digest);
  store.layers().remember_diff(layer, {diff_id, tar_bytes});
  store.layers().remember_blob(diff_id, "as-pulled", {descriptor.digest, descriptor.size});
  return layer;
}

static BaseImage open_image(const std::shared_ptr<LayoutDirectory>& layout, const oci::Descriptor& descriptor,
                            store::Store& store) {
  oci::Manifest manifest =
      oci::parse_manifest(layout->blob(descriptor, oci::kMaxManifestBytes), descriptor.media_type);
  BaseImage image;
  image.name = layout->path();
  image.identity = descriptor.digest;
  image.manifests = {descriptor.digest};
  image.config = oci::parse_config(layout->blob(manifest.config, oci::kMaxConfigBytes)).config;
  if (image.config.diff_ids.size() != manifest.layers.size())
    fail(ErrorCode::kInvalid, "OCI layout {}: {} layers, but {} diff ids", layout->path(),
         manifest.layers.size(), image.config.diff_ids.size());
  struct State {
    std::mutex mutex;
    std::optional<store::Rootfs> layers;
  };
  auto state = std::make_shared<State>();
  std::vector<DiffId> diff_ids = image.config.diff_ids;
  image.layers = [layout, manifest, diff_ids, state, &store] {
    std::lock_guard lock(state->mutex);
    if (state->layers) return *state->layers;
    store::Rootfs rootfs;
    for (size_t i = 0; i < manifest.layers.size(); i++) {
      UniqueFd fd = layout->open(oci::blob_path(manifest.layers[i].digest));
      archive::FdSource blob(fd.get(), layout->path());
      rootfs.push_back(import_layer(blob, manifest.layers[i], diff_ids[i], rootfs, store));
    }
    state->layers = rootfs;
    return rootfs;
  };
  return image;
}

BaseImage image_from_layout(const HostPath& directory, std::string_view name, const oci::Platform& platform,
                            store::Store& store) {
  auto layout = std::make_shared<LayoutDirectory>(directory);
  return open_image(layout, find_manifest(*layout, name, platform), store);
}

LayoutImages images_from_layout(const HostPath& directory, std::string_view name, store::Store& store) {
  auto layout = std::make_shared<LayoutDirectory>(directory);
  LayoutImages found;
  size_t seen = 0;
  std::function<void(const oci::Descriptor&, int)> add = [&](const oci::Descriptor& entry, int depth) {
    if (depth > kMaxDepth) fail(ErrorCode::kInvalid, "OCI layout {}: indexes nest too deep", layout->path());
    // Each entry counts: small indexes in indexes can name very many.
    if (++seen > kMaxImages)
      fail(ErrorCode::kInvalid, "OCI layout {}: more than {} entries under one name", layout->path(),
           kMaxImages);
    std::string shown = entry.platform ? entry.platform->format() : entry.digest.to_string();
    if (depth > 0 && !layout->has(entry)) {
      found.missing.push_back(shown);
    } else if (oci::is_index_type(entry.media_type)) {
      found.is_index = true;
      oci::Index index = oci::parse_index(layout->blob(entry, oci::kMaxManifestBytes), entry.media_type);
      for (const oci::Descriptor& member : index.manifests)
        if (!oci::is_attestation(member)) add(member, depth + 1);
    } else {
      oci::Manifest manifest =
          oci::parse_manifest(layout->blob(entry, oci::kMaxManifestBytes), entry.media_type);
      bool is_whole = layout->has(manifest.config) &&
                      std::all_of(manifest.layers.begin(), manifest.layers.end(),
                                  [&](const oci::Descriptor& layer) { return layout->has(layer); });
      if (depth > 0 && !is_whole) {
        found.missing.push_back(shown);
        return;
      }
      found.images.push_back(open_image(layout, entry, store));
      found.platforms.push_back(entry.platform ? *entry.platform : found.images.back().config.platform);
    }
  };
  add(find_root(*layout, name), 0);
  return found;
}

BaseImage image_from_store(const store::Image& stored, std::string_view name) {
  BaseImage image;
  image.name = std::string(name);
  image.identity = stored.id;
  image.config = oci::parse_config(stored.config).config;
  image.layers = [rootfs = stored.layers] { return rootfs; };
  return image;
}

store::Image image_to_store(const oci::ImageConfig& config, store::Rootfs layers, store::Store& store) {
  store::Image image;
  image.config = config.raw;
  image.id = Digest::of(image.config);
  image.layers = std::move(layers);
  for (const store::LayerRef& layer : image.layers)
    image.size += store.layers().load(layer.id)->content_bytes();
  return image;
}

Digest keep_image(const oci::ImageConfig& config, store::Rootfs layers, std::vector<std::string> names,
                  store::Store& store) {
  store::Image image = image_to_store(config, std::move(layers), store);
  image.tags = std::move(names);
  store.save_image(image);
  return image.id;
}

}  // namespace corten::source
