// An image on its way out of the store: as archives and layouts that other tools read, or as plain files.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "archive/source.h"
#include "image/annotations.h"
#include "image/layer_blobs.h"
#include "oci/reference.h"
#include "store/store.h"

namespace corten::image {

// What leaves the store under one set of names: an image, or those of an index.
struct ImageSet {
  std::vector<store::Image> images;  // one, unless it is an index
  bool is_index = false;
  std::vector<oci::Reference> names;  // with tags

  // What the store has under a name or id. Nothing when it has no such thing.
  static std::optional<ImageSet> from_store(std::string_view name_or_id, store::Store& store);
};

struct ExportOptions {
  Compression compression;
  bool docker_media_types = false;
  std::vector<AnnotationRule> annotations;
  unsigned threads = 1;
};

// The root's descriptor: of the manifest, or of the index, with the annotations of its level and the time
// (org.opencontainers.image.created). All documents and blobs are made in the store.
struct Exported {
  oci::Descriptor root;
  std::vector<oci::Descriptor> blobs;  // all that hangs on it and itself, each once
  uint64_t compressed_bytes = 0;       // of all layers
};
Exported make_exported(const ImageSet& set, const ExportOptions& options, store::Store& store);
// The same documents over blobs that somebody else has: `blob_of` gives a layer's.
using BlobOf = std::function<oci::Descriptor(const store::LayerRef& layer)>;
Exported make_exported(const ImageSet& set, const ExportOptions& options, store::Store& store,
                       const BlobOf& blob_of);

// An OCI layout as a tar (oci-layout, index.json, blobs/), with manifest.json for `docker load` when
// `docker`: of an index the image for this machine, else its first. Members stand in path order with time 0,
// so the same images give the same bytes. Gives the first set's root.
oci::Descriptor write_archive(const std::vector<ImageSet>& sets, const ExportOptions& options, bool docker,
                              store::Store& store, archive::ByteSink& to);

// The same as a directory, which keeps other images that are in it.
oci::Descriptor write_layout(const ImageSet& set, const ExportOptions& options, const std::string& directory,
                             store::Store& store);

// The files of images, each below a directory of its own ("" is the root), so that several platforms can
// stand side by side. Two of them below one directory must not have the same file: Error(kInvalid) names it.
// `time`, in seconds, is given to every entry (section 6: SOURCE_DATE_EPOCH of local and tar outputs).
struct FileSet {
  const store::Image* image = nullptr;
  std::string directory, platform;  // the platform for errors
};
struct FileOptions {
  std::optional<int64_t> time;
  bool delete_others = false;  // local: what is in the directory and in no image goes (mode=delete)
};
// As a tar they are whole; in a directory they belong to the caller, without set-id bits for other users and
// without device nodes, and no link that lies there is followed.
void write_files_tar(const std::vector<FileSet>& sets, const FileOptions& options, store::Store& store,
                     archive::ByteSink& to);
void write_files(const std::vector<FileSet>& sets, const FileOptions& options, const std::string& directory,
                 store::Store& store);

}  // namespace corten::image
