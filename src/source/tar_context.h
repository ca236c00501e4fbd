// A context that comes as a tar archive (on standard input, or from an address): it is unpacked into the
// store's contents and seen as a tree.
#pragma once
#include <memory>

#include "archive/source.h"
#include "store/contents.h"
#include "store/tree.h"

namespace corten::source {

// `compressed_or_plain` in any compression we read. Owners become 0:0 and times the layer's (unless
// `keep_times`), as of a directory.
std::shared_ptr<const store::Tree> read_tar_context(archive::ByteSource& compressed_or_plain, bool keep_times,
                                                    store::Contents& contents);

}  // namespace corten::source
