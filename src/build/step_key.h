// What goes into the key of each kind of step. See key.h.
#pragma once
#include "build/copy.h"
#include "build/key.h"
#include "build/layer_time.h"
#include "build/plan.h"

namespace corten::build {

// `content`: selection_digest() of what is copied.
KeyRecord copy_key(const CopyStep& step, const StageRootfs& below, const Digest& content,
                   const Request& request);
// `sources`: for each mount, the digest of what it shows; empty for those that show nothing of a tree.
KeyRecord run_key(const RunStep& step, const StageRootfs& below,
                  const std::vector<std::optional<Digest>>& sources, const Request& request);
KeyRecord workdir_key(const WorkdirStep& step, const StageRootfs& below, const Request& request);

}  // namespace corten::build
