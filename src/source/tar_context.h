// A context that comes as a tar archive (on standard input): it is unpacked into the store's contents and
// seen as a tree.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "archive/source.h"
#include "store/contents.h"
#include "store/tree.h"

namespace corten::source {

// `compressed_or_plain` in any compression we read. Owners become 0:0 and times the layer's (unless
// `keep_times`), as of a directory; `ignore` hides paths.
std::unique_ptr<store::Tree> read_tar_context(archive::ByteSource& compressed_or_plain,
                                              const std::vector<std::string>& ignore, bool keep_times,
                                              store::Contents& contents);

// Hides what the ignore patterns match.
std::unique_ptr<store::Tree> without_ignored(const store::Tree& tree, const std::vector<std::string>& ignore);

}  // namespace corten::source
