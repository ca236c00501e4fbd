#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/core.h>

#include "archive/tar.h"
#include "base/beneath.h"
#include "base/error.h"
#include "image/export.h"
#include "oci/config.h"
#include "oci/layout.h"
#include "oci/manifest.h"

namespace corten::image {

ExportedImage make_manifest(const store::Image& image, const ExportOptions& options, store::Store& store) {
  ExportedImage exported;
  oci::Manifest manifest;
  if (options.docker_media_types) manifest.media_type = std::string(oci::kDockerManifest);
  manifest.config =
      oci::describe(options.docker_media_types ? oci::kDockerConfig : oci::kOciConfig, image.config);
  for (const store::LayerRef& layer : image.layers) {
    oci::Descriptor blob = ensure_blob(layer, options.compression, options.threads, store);
    if (options.docker_media_types)
      blob.media_type = std::string(oci::layer_media_type(oci::layer_compression(blob.media_type), true));
    exported.compressed_bytes += blob.size;
    manifest.layers.push_back(std::move(blob));
  }
  manifest.annotations = options.annotations;
  std::string bytes = oci::emit_manifest(manifest);
  store.write_blob(bytes);
  store.write_blob(image.config);
  exported.manifest = oci::describe(manifest.media_type, bytes);
  exported.manifest.platform = oci::parse_config(image.config).config.platform;
  return exported;
}

namespace {

// One entry in the index for each name, as BuildKit and skopeo write and read them; one without names when
// there is none.
void add_to_index(oci::Index& index, const oci::Descriptor& manifest,
                  const std::vector<oci::Reference>& names, const std::string& created) {
  auto entry = manifest;
  if (!created.empty()) entry.annotations[std::string(oci::kCreatedAnnotation)] = created;
  if (names.empty()) oci::put_in_layout(index, entry);
  for (const oci::Reference& name : names) {
    entry.annotations[std::string(oci::kImageNameAnnotation)] = name.to_string();
    entry.annotations[std::string(oci::kRefNameAnnotation)] = name.tag();
    oci::put_in_layout(index, entry);
  }
}

std::vector<oci::Descriptor> blobs_of(const oci::Descriptor& manifest, store::Store& store) {
  oci::Manifest parsed =
      oci::parse_manifest(store.read_blob(manifest.digest, oci::kMaxManifestBytes), manifest.media_type);
  std::vector<oci::Descriptor> blobs = parsed.layers;
  blobs.push_back(parsed.config);
  blobs.push_back(manifest);
  return blobs;
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

ExportedImage write_archive(const std::vector<NamedImage>& images, const ExportOptions& options, bool docker,
                            store::Store& store, archive::ByteSink& to) {
  oci::Index index;
  Json docker_manifest = Json::array();
  std::map<std::string, oci::Descriptor> blobs;  // by path
  ExportedImage first;
  for (const NamedImage& named : images) {
    ExportedImage exported = make_manifest(named.image, options, store);
    if (&named == &images.front()) first = exported;
    oci::ImageConfig config = oci::parse_config(named.image.config).config;
    add_to_index(index, exported.manifest, named.names, config.created);
    Json layers = Json::array();
    for (const oci::Descriptor& blob : blobs_of(exported.manifest, store)) {
      blobs[oci::blob_path(blob.digest)] = blob;
      if (oci::is_layer_type(blob.media_type)) layers.push_back(oci::blob_path(blob.digest));
    }
    Json tags = Json::array();
    for (const oci::Reference& name : named.names) tags.push_back(name.familiar());
    docker_manifest.push_back(Json::object({{"Config", oci::blob_path(named.image.id)},
                                            {"RepoTags", tags.size() ? tags : Json()},
                                            {"Layers", layers}}));
  }
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
  return first;
}

ExportedImage write_layout(const NamedImage& named, const ExportOptions& options,
                           const std::string& directory, store::Store& store) {
  ExportedImage exported = make_manifest(named.image, options, store);
  make_directories_on_host(directory);
  UniqueFd root = open_file(directory, O_RDONLY | O_DIRECTORY);
  make_directories(root.get(), "blobs/sha256");
  for (const oci::Descriptor& blob : blobs_of(exported.manifest, store)) {
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
  add_to_index(index, exported.manifest, named.names, oci::parse_config(named.image.config).config.created);
  write_file_atomic(directory + "/" + std::string(oci::kLayoutFileName), oci::emit_layout_file());
  write_file_atomic(index_path, oci::emit_index(index));
  return exported;
}

}  // namespace corten::image
