#include "image/layer_blobs.h"

#include <fcntl.h>

#include <fmt/core.h>

#include "archive/compression.h"
#include "archive/gzip_encoder.h"
#include "archive/zlib_writer.h"
#include "archive/zstd_writer.h"
#include "base/error.h"
#include "base/trace.h"
#include "store/layer_tar.h"

namespace corten::image {

namespace {

constexpr int kZstdLevel = 3;

// One stream to two places: the hash of the tar, and its compressor.
class Tee : public archive::ByteSink {
 public:
  Tee(archive::ByteSink& a, archive::ByteSink& b) : a_(a), b_(b) {}
  void write(std::string_view bytes) override {
    a_.write(bytes);
    b_.write(bytes);
  }

 private:
  archive::ByteSink& a_;
  archive::ByteSink& b_;
};

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
  auto blob = store.layers().find_blob(diff_id, "as-pulled");
  return blob && store.has_blob(blob->digest) ? blob : std::nullopt;
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

}  // namespace

// A layer of others is only the same tar again when it is read from the blob that it came as.
void write_tar(const store::LayerRef& layer, store::Store& store, archive::ByteSink& to) {
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

store::LayerDiff ensure_diff(const store::LayerRef& layer, store::Store& store) {
  if (auto known = store.layers().find_diff(layer)) return *known;
  TraceSpan span("diff id of a layer");
  archive::HashingSink hash;
  write_own_tar(layer, store, hash, nullptr);
  uint64_t size = hash.size();
  store::LayerDiff diff{{hash.digest()}, size};
  store.layers().remember_diff(layer, diff);
  return diff;
}

oci::Descriptor ensure_blob(const store::LayerRef& layer, const Compression& compression, unsigned threads,
                            store::Store& store) {
  auto diff = store.layers().find_diff(layer);
  std::optional<store::LayerBlob> came_as = diff ? imported_blob(layer, diff->diff_id, store) : std::nullopt;
  if (came_as && !compression.force) return descriptor_of(*came_as, compression_of(*came_as, store));
  std::string format = format_name(compression);
  if (diff)
    if (auto known = store.layers().find_blob(diff->diff_id, format); known && store.has_blob(known->digest))
      return descriptor_of(*known, compression.kind);

  TraceSpan span("compress a layer");
  TempDir place = store.temporary("blob");
  UniqueFd file = open_file(place / "blob", O_WRONLY | O_CREAT | O_EXCL, 0644);
  archive::FdSink disk(file.get(), place / "blob");
  archive::HashingSink compressed(&disk);
  archive::HashingSink plain;
  auto produce = [&](archive::ByteSink& compressor, archive::TarHints* hints) {
    Tee both(plain, compressor);
    if (came_as)
      write_tar(layer, store, both);
    else
      write_own_tar(layer, store, both, hints);
  };
  if (compression.kind == oci::LayerCompression::kGzip && compression.level) {
    archive::ZlibWriter gzip(compressed, *compression.level);
    produce(gzip, nullptr);
    gzip.finish();
  } else if (compression.kind == oci::LayerCompression::kGzip) {
    archive::GzipWriter gzip(compressed, {.threads = threads});
    produce(gzip, &gzip);
    gzip.finish();
  } else if (compression.kind == oci::LayerCompression::kZstd) {
    archive::ZstdWriter zstd(compressed, compression.level.value_or(kZstdLevel));
    produce(zstd, nullptr);
    zstd.finish();
  } else {
    produce(compressed, nullptr);
  }
  file.close_checked(place / "blob");
  uint64_t tar_bytes = plain.size();
  DiffId diff_id{plain.digest()};
  if (diff && diff->diff_id != diff_id)
    fail(ErrorCode::kCorrupt, "layer {}: its tar is {}, and was {}", layer.id.short_hex(),
         diff_id.digest.to_string(), diff->diff_id.digest.to_string());
  uint64_t size = compressed.size();
  store::LayerBlob blob{compressed.digest(), size};
  store.place_blob(place / "blob", blob.digest);
  store.layers().remember_diff(layer, {diff_id, tar_bytes});
  store.layers().remember_blob(diff_id, format, blob);
  return descriptor_of(blob, compression.kind);
}

}  // namespace corten::image
