#include "source/base_image.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "oci/layout.h"
#include "source/layer_import.h"

namespace corten::source {

namespace {

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

constexpr unsigned kFilesAtOnce = 2;  // that are copied: they come from a disk
constexpr int kMaxDepth = 4;          // of indexes in indexes
constexpr size_t kMaxImages = 1000;   // that one name may mean

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
    const BlobFetch fetch = fetch_from_files(
        [&](const oci::Descriptor& blob) { return layout->open(oci::blob_path(blob.digest)); });
    state->layers = import_layers(manifest.layers, diff_ids, kFilesAtOnce, fetch, store);
    return *state->layers;
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
