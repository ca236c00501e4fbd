// An image on its way out of the store: as archives and layouts that other tools read, or as plain files.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "archive/source.h"
#include "image/layer_blobs.h"
#include "oci/reference.h"
#include "store/store.h"

namespace corten::image {

struct ExportedImage {
  oci::Descriptor manifest;
  uint64_t compressed_bytes = 0;  // of all layers
};

struct ExportOptions {
  Compression compression;
  bool docker_media_types = false;
  std::vector<oci::Reference> names;               // with tags
  std::map<std::string, std::string> annotations;  // of the manifest
  unsigned threads = 1;
};

// The manifest and its blobs, made in the store.
ExportedImage make_manifest(const store::Image& image, const ExportOptions& options, store::Store& store);

// An OCI layout as a tar (oci-layout, index.json, blobs/), with manifest.json for `docker load` when
// `docker`. Members stand in path order with time 0, so the same images give the same bytes.
struct NamedImage {
  store::Image image;
  std::vector<oci::Reference> names;
};
ExportedImage write_archive(const std::vector<NamedImage>& images, const ExportOptions& options, bool docker,
                            store::Store& store, archive::ByteSink& to);

// The same as a directory, which keeps other images that are in it.
ExportedImage write_layout(const NamedImage& image, const ExportOptions& options,
                           const std::string& directory, store::Store& store);

// The files of the image. As a tar they are whole; in a directory they belong to the caller, without set-id
// bits for other users and without device nodes, and no link that lies there is followed.
void write_files_tar(const store::Image& image, std::optional<int64_t> time, store::Store& store,
                     archive::ByteSink& to);
void write_files(const store::Image& image, const std::string& directory, store::Store& store);

}  // namespace corten::image
