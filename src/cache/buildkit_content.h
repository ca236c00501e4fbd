// Files as BuildKit's keys know them by content: the digest of a path in a root file system or a context.
//
// A file's digest is over a header in the form of old "tarsum" (mode, owner, size, type, link; never a name
// or a time) and its bytes; a directory's over its own header and, by name, what is in it. Of several paths,
// or of a pattern, it is the digest of the list. Source: BuildKit v0.32.2, cache/contenthash and
// solver/llbsolver/ops/opsutils, as measured.
#pragma once
#include <optional>
#include <vector>

#include "cache/buildkit_graph.h"
#include "store/contents.h"
#include "store/tree.h"

namespace corten::cache {

struct BuildkitFiles {
  std::shared_ptr<const store::Tree> tree;
  bool is_context = false;  // its root directory is not its own
};

// Nothing when a path is not there, or when something is in it whose digest is not known for sure (a device).
// Contents are read, so they are in `contents` then.
std::optional<Digest> buildkit_content_digest(const BuildkitFiles& files,
                                              const std::vector<BuildkitPath>& paths,
                                              const store::Contents& contents);

}  // namespace corten::cache
