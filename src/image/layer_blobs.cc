#include "image/layer_blobs.h"

#include <fcntl.h>

#include <fmt/core.h>

#include "archive/compression.h"
#include "archive/gzip_encoder.h"
#include "archive/zlib_writer.h"
#include "archive/zstd_writer.h"
#include "base/error.h"
#include "base/trace.h"
#include "image/layer_records.h"
#include "image/layer_reuse.h"
#include "store/layer_tar.h"

namespace corten::image {

namespace {

constexpr int kZstdLevel = 3;
constexpr std::string_view kAsPulled = "as-pulled";

void write_own_tar(const store::LayerRef& layer, store::Store& store, archive::ByteSink& to,
                   archive::TarHints* hints) {
  archive::TarWriter writer(to, hints);
  store::write_layer_tar(*store.layers().load(layer.id), {.time = layer.time, .clamp = {}}, store.contents(),
                         writer);
  writer.finish();
}

// The blob that a layer of others came as; a layer that was built here (its time is not 0) never has one,
// although its tar may have been imported too.
std::optional<store::LayerBlob> imported_blob(const store::LayerRef& layer, const DiffId& diff_id,
                                              store::Store& store) {
  if (layer.time != 0) return std::nullopt;
  auto blob = store.layers().find_blob(diff_id, kAsPulled);
  return blob && store.has_blob(blob->digest) ? blob : std::nullopt;
}

// Of one that lies elsewhere, by what its place says of it.
std::optional<oci::Descriptor> absent_blob(const store::LayerRef& layer, const DiffId& diff_id,
                                           store::Store& store) {
  auto blob = layer.time == 0 ? store.layers().find_blob(diff_id, kAsPulled) : std::nullopt;
  if (!blob || store.has_blob(blob->digest)) return std::nullopt;
  for (const store::LayerPlace& place : store.layers().places(layer.id))
    if (place.blob == blob->digest)
      return oci::Descriptor{.media_type = place.media_type, .digest = blob->digest, .size = blob->size};
  return std::nullopt;
}

oci::LayerCompression compression_of(const store::LayerBlob& blob, store::Store& store) {
  UniqueFd fd = open_file(store.blob_path(blob.digest), O_RDONLY);
  std::string head(6, '\0');
  head.resize(read_fully(fd.get(), head.data(), head.size(), "blob"));
  switch (archive::detect_compression(head)) {
    case archive::Compression::kGzip:
      return oci::LayerCompression::kGzip;
    case archive::Compression::kZstd:
      return oci::LayerCompression::kZstd;
    default:
      return oci::LayerCompression::kNone;
  }
}

oci::Descriptor descriptor_of(const store::LayerBlob& blob, oci::LayerCompression kind) {
  oci::Descriptor descriptor;
  descriptor.media_type = std::string(oci::layer_media_type(kind, false));
  descriptor.digest = blob.digest;
  descriptor.size = blob.size;
  return descriptor;
}

std::string format_name(const Compression& compression) {
  switch (compression.kind) {
    case oci::LayerCompression::kGzip:
      return compression.level ? archive::zlib_format_name(*compression.level)
                               : std::string(archive::kGzipFormatName);
    case oci::LayerCompression::kZstd:
      return fmt::format("zstd-{}", compression.level.value_or(kZstdLevel));
    default:
      return "tar";
  }
}

// A blob in the making.
class NewBlob {
 public:
  explicit NewBlob(store::Store& store)
      : store_(store),
        place_(store.temporary("blob")),
        file_(open_file(place_ / "blob", O_WRONLY | O_CREAT | O_EXCL, 0644)),
        disk_(file_.get(), place_ / "blob"),
        hash_(&disk_) {}
  archive::ByteSink& sink() { return hash_; }
  store::LayerBlob place() {
    file_.close_checked(place_ / "blob");
    uint64_t size = hash_.size();
    store::LayerBlob blob{hash_.digest(), size};
    store_.place_blob(place_ / "blob", blob.digest);
    return blob;
  }

 private:
  store::Store& store_;
  TempDir place_;
  UniqueFd file_;
  archive::FdSink disk_;
  archive::HashingSink hash_;
};

// Of a layer that has an earlier version with a blob; nothing when there is none, or it is damaged.
std::optional<store::LayerBlob> changed_blob(const store::LayerRef& layer, const store::LayerDiff& diff,
                                             unsigned threads, store::Store& store) {
  NewBlob file(store);
  std::optional<archive::GzipResult> made;
  try {
    made = compress_changes(layer, threads, store, file.sink());
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCorrupt) throw;
  }
  if (!made || made->raw_size != diff.tar_bytes) return std::nullopt;
  store::LayerBlob blob = file.place();
  store.layers().remember_blob(diff.diff_id, archive::kGzipFormatName, blob, recipe_of(*made));
  return blob;
}

}  // namespace

// A layer of others is only the same tar again when it is read from the blob that it came as.
void write_tar(const store::LayerRef& layer, store::Store& store, archive::ByteSink& to) {
  store.layers().need({layer.id});
  if (auto diff = store.layers().find_diff(layer)) {
    if (auto blob = imported_blob(layer, diff->diff_id, store)) {
      UniqueFd fd = open_file(store.blob_path(blob->digest), O_RDONLY);
      archive::FdSource from(fd.get(), blob->digest.to_string());
      auto plain = archive::open_decompressor(from);
      archive::copy_all(*plain, to);
      return;
    }
  }
  write_own_tar(layer, store, to, nullptr);
}

store::LayerDiff ensure_diff(const store::LayerRef& layer, store::Store& store,
                             const Cancellation& cancellation) {
  if (auto known = store.layers().find_diff(layer)) return *known;
  store.layers().need({layer.id});
  HashedTar tar = hash_tar(layer, store, cancellation);
  store.layers().remember_diff(layer, tar.diff, tar.checkpoints);
  return tar.diff;
}

std::optional<oci::Descriptor> known_blob(const store::LayerRef& layer, const Compression& compression,
                                          store::Store& store) {
  auto diff = store.layers().find_diff(layer);
  if (!diff) return std::nullopt;
  if (auto elsewhere = absent_blob(layer, diff->diff_id, store); elsewhere && !compression.force)
    return elsewhere;
  if (auto came_as = imported_blob(layer, diff->diff_id, store); came_as && !compression.force)
    return descriptor_of(*came_as, compression_of(*came_as, store));
  if (auto known = store.layers().find_blob(diff->diff_id, format_name(compression)))
    return descriptor_of(*known, compression.kind);
  return std::nullopt;
}

std::string format_of(const store::LayerRef& layer, const Compression& compression, store::Store& store) {
  auto diff = store.layers().find_diff(layer);
  const bool came_so = layer.time == 0 && diff && store.layers().find_blob(diff->diff_id, kAsPulled);
  return came_so && !compression.force ? std::string(kAsPulled) : format_name(compression);
}

oci::Descriptor ensure_blob(const store::LayerRef& layer, const Compression& compression, unsigned threads,
                            store::Store& store, const Cancellation& cancellation) {
  auto is_here = [&](const std::optional<oci::Descriptor>& blob) {
    return blob && store.has_blob(blob->digest);
  };
  auto known = known_blob(layer, compression, store);
  if (!is_here(known) && store.layers().is_absent(layer.id)) {
    store.layers().need({layer.id});  // and the blob that it came as
    known = known_blob(layer, compression, store);
  }
  if (is_here(known)) return *known;

  TraceSpan span("compress a layer");
  const auto diff = store.layers().find_diff(layer);
  const auto came_as = diff ? imported_blob(layer, diff->diff_id, store) : std::nullopt;
  const std::string format = format_name(compression);
  if (diff && !came_as && format == archive::kGzipFormatName)
    if (auto blob = changed_blob(layer, *diff, threads, store)) return descriptor_of(*blob, compression.kind);

  NewBlob file(store);
  HashedTar tar;
  std::string recipe;
  auto produce = [&](archive::ByteSink& compressor, archive::TarHints* hints) {
    if (!came_as) {
      tar = write_hashed_tar(layer, store, compressor, hints, cancellation);
      return;
    }
    archive::HashingSink plain(&compressor);
    write_tar(layer, store, plain);
    tar.diff = {{plain.digest()}, plain.size()};
  };
  if (compression.kind == oci::LayerCompression::kGzip && compression.level) {
    archive::ZlibWriter gzip(file.sink(), *compression.level);
    produce(gzip, nullptr);
    gzip.finish();
  } else if (compression.kind == oci::LayerCompression::kGzip) {
    archive::GzipWriter gzip(file.sink(), {.threads = threads});
    produce(gzip, &gzip);
    recipe = recipe_of(gzip.finish());
  } else if (compression.kind == oci::LayerCompression::kZstd) {
    archive::ZstdWriter zstd(file.sink(), compression.level.value_or(kZstdLevel));
    produce(zstd, nullptr);
    zstd.finish();
  } else {
    produce(file.sink(), nullptr);
  }
  const DiffId diff_id = tar.diff.diff_id;
  if (diff && diff->diff_id != diff_id)
    fail(ErrorCode::kCorrupt, "layer {}: its tar is {}, and was {}", layer.id.short_hex(),
         diff_id.digest.to_string(), diff->diff_id.digest.to_string());
  store::LayerBlob blob = file.place();
  store.layers().remember_diff(layer, tar.diff, tar.checkpoints);
  store.layers().remember_blob(diff_id, format, blob, recipe);
  return descriptor_of(blob, compression.kind);
}

}  // namespace corten::image
