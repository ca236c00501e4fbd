// What an earlier version of a layer spares: the hash of the tar up to the first change, and the compressed
// chunks before and behind what changed.
//
// Both rest on one fact: an entry's bytes in the tar depend on the entry and the layer's time alone
// (store/layer_tar.h). So two versions with the same time have the same bytes as far as their first entries
// are the same, and again from where their last entries are. Layers above an image's last RUN have a time
// made of their content (build/layer_time.h): two versions of those never share a time, and nothing is
// spared.
#pragma once
#include <optional>
#include <string>

#include "archive/gzip_encoder.h"
#include "base/thread_pool.h"
#include "store/store.h"

namespace corten::image {

// The diff id, with checkpoints for the next version.
struct HashedTar {
  store::LayerDiff diff;
  std::string checkpoints;  // docs/formats, "Index"
};
// The hash goes on from the last checkpoint of the earlier version that lies before the first change, when
// there is one.
HashedTar hash_tar(const store::LayerRef& layer, store::Store& store, const Cancellation& cancellation);
// The whole tar, hashed on its way to a compressor.
HashedTar write_hashed_tar(const store::LayerRef& layer, store::Store& store, archive::ByteSink& to,
                           archive::TarHints* hints, const Cancellation& cancellation);

// Writes the layer's gz1 blob with chunks of the earlier version's blob. Nothing, and nothing written, when
// there is no earlier version that helps. Error(kCorrupt) when the earlier blob is damaged: then what was
// written is of no use.
std::optional<archive::GzipResult> compress_changes(const store::LayerRef& layer, unsigned threads,
                                                    store::Store& store, archive::ByteSink& to);

}  // namespace corten::image
