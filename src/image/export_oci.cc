#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>

#include <fmt/core.h>

#include "archive/tar.h"
#include "base/beneath.h"
#include "base/error.h"
#include "base/trace.h"
#include "image/export.h"
#include "oci/config.h"
#include "oci/layout.h"
#include "oci/manifest.h"

namespace corten::image {

std::optional<ImageSet> ImageSet::from_store(std::string_view name_or_id, store::Store& store) {
  ImageSet set;
  std::vector<std::string> tags;
  if (auto index = store.find_index(name_or_id)) {
    set.is_index = true;
    for (const store::ImageIndex::Member& member : index->members) {
      auto image = store.image_by_id(member.image);
      if (!image)
        throw Error(ErrorCode::kCorrupt, fmt::format("{}: its image for {} is not in the store", name_or_id,
                                                     member.platform.format()))
            .with_hint("run 'corten fsck --repair'");
      set.images.push_back(std::move(*image));
    }
    tags = index->tags;
  } else if (auto image = store.find_image(name_or_id)) {
    tags = image->tags;
    set.images.push_back(std::move(*image));
  } else {
    return std::nullopt;
  }
  for (const std::string& tag : tags)
    if (tag == name_or_id) set.names.push_back(oci::Reference::parse(tag));
  return set;
}

namespace {

class BlobList {
 public:
  void add(const oci::Descriptor& blob) {
    if (seen_.insert(blob.digest).second) list_.push_back(blob);
  }
  std::vector<oci::Descriptor> take() { return std::move(list_); }

 private:
  std::set<Digest> seen_;
  std::vector<oci::Descriptor> list_;
};

oci::Descriptor make_manifest(const store::Image& image, const ExportOptions& options, store::Store& store,
                              const BlobOf& blob_of, BlobList& blobs, uint64_t& compressed_bytes) {
  oci::Platform platform = oci::parse_config(image.config).config.platform;
  oci::Manifest manifest;
  if (options.docker_media_types) manifest.media_type = std::string(oci::kDockerManifest);
  manifest.config =
      oci::describe(options.docker_media_types ? oci::kDockerConfig : oci::kOciConfig, image.config);
  for (const store::LayerRef& layer : image.layers) {
    oci::Descriptor blob = blob_of(layer);
    if (options.docker_media_types)
      blob.media_type = std::string(oci::layer_media_type(oci::layer_compression(blob.media_type), true));
    compressed_bytes += blob.size;
    blobs.add(blob);
    manifest.layers.push_back(std::move(blob));
  }
  manifest.annotations = annotations_for(options.annotations, AnnotationLevel::kManifest, platform);
  std::string bytes = oci::emit_manifest(manifest);
  store.write_blob(bytes);
  store.write_blob(image.config);
  blobs.add(manifest.config);
  oci::Descriptor descriptor = oci::describe(manifest.media_type, bytes);
  blobs.add(descriptor);
  descriptor.platform = platform;
  descriptor.annotations =
      annotations_for(options.annotations, AnnotationLevel::kManifestDescriptor, platform);
  return descriptor;
}

}  // namespace

Exported make_exported(const ImageSet& set, const ExportOptions& options, store::Store& store) {
  return make_exported(set, options, store, [&](const store::LayerRef& layer) {
    return ensure_blob(layer, options.compression, options.threads, store);
  });
}

Exported make_exported(const ImageSet& set, const ExportOptions& options, store::Store& store,
                       const BlobOf& blob_of) {
  Exported exported;
  BlobList blobs;
  oci::Index index;
  if (options.docker_media_types) index.media_type = std::string(oci::kDockerIndex);
  std::string created;
  std::vector<oci::Platform> platforms;
  for (const store::Image& image : set.images) {
    oci::ImageConfig config = oci::parse_config(image.config).config;
    created = std::max(created, config.created);
    platforms.push_back(config.platform);
  }
  check_annotations(options.annotations, {platforms, set.is_index, options.docker_media_types});
  for (const store::Image& image : set.images)
    index.manifests.push_back(
        make_manifest(image, options, store, blob_of, blobs, exported.compressed_bytes));
  if (set.is_index) {
    index.annotations = annotations_for(options.annotations, AnnotationLevel::kIndex, {});
    std::string bytes = oci::emit_index(index);
    store.write_blob(bytes);
    exported.root = oci::describe(index.media_type, bytes);
    blobs.add(exported.root);
    exported.root.annotations = annotations_for(options.annotations, AnnotationLevel::kIndexDescriptor, {});
  } else {
    exported.root = index.manifests.front();
  }
  if (!created.empty()) exported.root.annotations.emplace(std::string(oci::kCreatedAnnotation), created);
  exported.blobs = blobs.take();
  return exported;
}

namespace {

// One entry in the index for each name, as BuildKit and skopeo write and read them; one without names when
// there is none.
void add_to_index(oci::Index& index, oci::Descriptor entry, const std::vector<oci::Reference>& names) {
  if (names.empty()) oci::put_in_layout(index, entry);
  for (const oci::Reference& name : names) {
    entry.annotations[std::string(oci::kImageNameAnnotation)] = name.to_string();
    entry.annotations[std::string(oci::kRefNameAnnotation)] = name.tag();
    oci::put_in_layout(index, entry);
  }
}

// What `docker load` takes: it knows no indexes.
const store::Image& for_docker(const ImageSet& set) {
  const store::Image* best = nullptr;
  int best_rank = 0;
  for (const store::Image& image : set.images) {
    auto rank = oci::platform_rank(oci::host_platform(), oci::parse_config(image.config).config.platform);
    if (rank && (!best || *rank < best_rank)) best = &image, best_rank = *rank;
  }
  return best ? *best : set.images.front();
}

Json docker_entry(const ImageSet& set, const ExportOptions& options, store::Store& store) {
  const store::Image& image = for_docker(set);
  Json layers = Json::array(), tags = Json::array();
  for (const store::LayerRef& layer : image.layers)
    layers.push_back(oci::blob_path(ensure_blob(layer, options.compression, options.threads, store).digest));
  for (const oci::Reference& name : set.names) tags.push_back(name.familiar());
  return Json::object(
      {{"Config", oci::blob_path(image.id)}, {"RepoTags", tags.size() ? tags : Json()}, {"Layers", layers}});
}

archive::TarHeader member(std::string path, archive::TarType type, uint64_t size) {
  archive::TarHeader header;
  header.path = std::move(path);
  header.type = type;
  header.mode = type == archive::TarType::kDirectory ? 0755 : 0644;
  header.size = size;
  return header;
}

}  // namespace

oci::Descriptor write_archive(const std::vector<ImageSet>& sets, const ExportOptions& options, bool docker,
                              store::Store& store, archive::ByteSink& to) {
  oci::Index index;
  Json docker_manifest = Json::array();
  std::map<std::string, oci::Descriptor> blobs;  // by path
  std::optional<oci::Descriptor> first;
  for (const ImageSet& set : sets) {
    Exported exported = make_exported(set, options, store);
    add_to_index(index, exported.root, set.names);
    for (const oci::Descriptor& blob : exported.blobs) blobs[oci::blob_path(blob.digest)] = blob;
    if (docker) docker_manifest.push_back(docker_entry(set, options, store));
    if (!first) first = std::move(exported.root);
  }
  TraceSpan span("write the archive");
  archive::TarWriter tar(to);
  tar.add(member("blobs", archive::TarType::kDirectory, 0), std::string_view());
  tar.add(member("blobs/sha256", archive::TarType::kDirectory, 0), std::string_view());
  for (const auto& [path, blob] : blobs) {
    UniqueFd fd = open_file(store.blob_path(blob.digest), O_RDONLY);
    archive::FdSource from(fd.get(), path);
    archive::VerifyingSource verified(from, blob.digest, blob.size, path);
    tar.add(member(path, archive::TarType::kFile, blob.size), verified);
  }
  auto add_text = [&](std::string_view name, const std::string& text) {
    tar.add(member(std::string(name), archive::TarType::kFile, text.size()), text);
  };
  add_text(oci::kLayoutIndexName, oci::emit_index(index));
  if (docker) add_text("manifest.json", docker_manifest.dump());
  add_text(oci::kLayoutFileName, oci::emit_layout_file());
  tar.finish();
  return first.value_or(oci::Descriptor());
}

oci::Descriptor write_layout(const ImageSet& set, const ExportOptions& options, const std::string& directory,
                             store::Store& store) {
  Exported exported = make_exported(set, options, store);
  make_directories_on_host(directory);
  UniqueFd root = open_file(directory, O_RDONLY | O_DIRECTORY);
  make_directories(root.get(), "blobs/sha256");
  for (const oci::Descriptor& blob : exported.blobs) {
    std::string path = directory + "/" + oci::blob_path(blob.digest);
    if (path_exists(path)) continue;
    std::string partial = fmt::format("{}.{}", path, getpid());
    UniqueFd from = open_file(store.blob_path(blob.digest), O_RDONLY);
    UniqueFd file = open_file(partial, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644);
    copy_contents(from.get(), file.get(), blob.size, path);
    file.close_checked(path);
    if (rename(partial.c_str(), path.c_str()) != 0) fail_errno("write {}", path);
  }
  oci::Index index;
  std::string index_path = directory + "/" + std::string(oci::kLayoutIndexName);
  if (path_exists(index_path)) index = oci::parse_index(read_file(index_path, oci::kMaxManifestBytes));
  add_to_index(index, exported.root, set.names);
  write_file_atomic(directory + "/" + std::string(oci::kLayoutFileName), oci::emit_layout_file());
  write_file_atomic(index_path, oci::emit_index(index));
  return exported.root;
}

}  // namespace corten::image
