// COPY and ADD as functions on trees: first which files (their digest is in the step's key), then where they
// go.
#pragma once
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "build/owner.h"
#include "build/plan.h"
#include "store/layer_builder.h"

namespace corten::build {

// A source as it was found: an entry and all below it that is not excluded.
struct Selected {
  const store::Entry* entry = nullptr;
  std::string name;                        // what it is called at the destination
  RootfsPath base;                         // --parents: the directory that the kept components start from
  std::vector<const store::Entry*> below;  // of a directory, parents first
};

struct Selection {
  std::vector<Selected> items;
  bool wildcard_only = true;  // every source held a wildcard: no match is no error
  std::vector<const store::Entry*> files() const;
};

// `place` names the tree in errors. Error(kNotFound): `failed to calculate checksum of ref PLACE: "/x": not
// found`.
Selection select_sources(const CopyStep& step, const store::Tree& tree, std::string_view place);

// The digest of what is copied: paths, types, modes, owners, contents, links, and times that were set (times
// of a context's files, which `--timestamps=source` keeps, do not count, as with BuildKit).
Digest selection_digest(const Selection& selection, bool with_times);

// Puts the selection into the layer. `builder` lies on what is below (or on nothing, for --link). Files must
// be in the store. Error(kCancelled) soon after a cancellation.
void copy_into(const CopyStep& step, const Selection& selection, const store::Tree& source,
               const store::Accounts& accounts, store::Contents& contents, store::LayerBuilder& builder,
               const Cancellation& cancellation = {});

// WORKDIR: the missing directories of a path.
void make_workdir(const RootfsPath& path, const Owner& owner, store::LayerBuilder& builder);

}  // namespace corten::build
