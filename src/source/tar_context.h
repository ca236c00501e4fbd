// A context that comes as a tar archive (on standard input, or from an address): it is unpacked into the
// store's contents and seen as a tree.
#pragma once
#include <memory>

#include "archive/source.h"
#include "store/contents.h"
#include "store/layer_tar.h"
#include "store/tree.h"

namespace corten::source {

struct TarContextOptions {
  bool keep_times = false;  // else they are the layer's, as of a directory
  uint64_t max_unpacked_bytes = store::kUsualUnpackedBytes;
};

// `compressed_or_plain` in any compression we read. Owners become 0:0, as of a directory.
std::shared_ptr<const store::Tree> read_tar_context(archive::ByteSource& compressed_or_plain,
                                                    const TarContextOptions& how, store::Contents& contents);

}  // namespace corten::source
