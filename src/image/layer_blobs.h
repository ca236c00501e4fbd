// A layer's tar and its compressed forms, made when somebody needs them and remembered.
#pragma once
#include <optional>
#include <string>

#include "archive/source.h"
#include "base/thread_pool.h"
#include "oci/descriptor.h"
#include "oci/media_type.h"
#include "store/store.h"

namespace corten::image {

struct Compression {
  oci::LayerCompression kind = oci::LayerCompression::kGzip;
  std::optional<int> level;  // gzip: unset gz1, else zlib's 0 to 9; zstd: 1 to 22, unset 3
  bool force = false;        // also layers that came compressed in another way
};

// The diff id, made by writing the tar into a hash when it is not known. Thread-safe.
store::LayerDiff ensure_diff(const store::LayerRef& layer, store::Store& store,
                             const Cancellation& cancellation = {});

// The layer as a blob of the store. A layer that was imported keeps the blob that it came as, unless `force`.
// `threads` compress at once; they change no byte.
oci::Descriptor ensure_blob(const store::LayerRef& layer, const Compression& compression, unsigned threads,
                            store::Store& store, const Cancellation& cancellation = {});

// The descriptor of that blob when it is known without making or reading anything. The blob itself may be
// gone from the store: it can be made again with the same bytes.
std::optional<oci::Descriptor> known_blob(const store::LayerRef& layer, const Compression& compression,
                                          store::Store& store);

// The name under which the store remembers what ensure_blob() gives: of the encoder, or of nobody here.
std::string format_of(const store::LayerRef& layer, const Compression& compression, store::Store& store);

// The uncompressed tar.
void write_tar(const store::LayerRef& layer, store::Store& store, archive::ByteSink& to);

}  // namespace corten::image
