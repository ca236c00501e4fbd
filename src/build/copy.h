// COPY and ADD as functions on trees: first which files (their digest is in the step's key), then where they
// go.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "build/owner.h"
#include "build/plan.h"
#include "store/layer_builder.h"
#include "store/layer_tar.h"

namespace corten::build {

// A source as it was found: an entry and all below it that is not excluded.
struct Selected {
  const store::Entry* entry = nullptr;
  std::string name;  // what it is called at the destination
  RootfsPath base;   // --parents: the directory that the kept components start from
  std::vector<const store::Entry*>
      above;  // --parents: the directories between base and entry, which are copied too
  std::vector<const store::Entry*> below;  // of a directory, parents first
  bool is_remote = false;  // from an address: its times count, it is unpacked only when that is said
};

struct Selection {
  std::vector<Selected> items;
  bool wildcard_only = true;  // every source held a wildcard: no match is no error
  // Those of the tree, which must be hashed and ingested first; what is remote is in the store.
  std::vector<const store::Entry*> files() const;
};

// `place` names the tree in errors. Error(kNotFound): `failed to calculate checksum of ref PLACE: "/x": not
// found`.
// `remotes` are the fetched ones of step.remotes, by position; they must live as long as the selection.
Selection select_sources(const CopyStep& step, const store::Tree& tree, std::string_view place,
                         const std::map<size_t, RemoteTree>& remotes = {});

// The digest of what is copied: paths, types, modes, owners, contents, links, and times that were set (times
// of a context's files, which `--timestamps=source` keeps, do not count, as with BuildKit).
Digest selection_digest(const Selection& selection, bool with_times);

// What ends a copy early.
struct CopyBounds {
  Cancellation cancellation = {};
  uint64_t max_unpacked_bytes = store::kUsualUnpackedBytes;  // of each archive
};

// Puts the selection into the layer. `builder` lies on what is below (or on nothing, for --link). Files must
// be in the store. Error(kCancelled) soon after a cancellation, Error(kInvalid) for an archive bomb.
void copy_into(const CopyStep& step, const Selection& selection, const store::Accounts& accounts,
               store::Contents& contents, store::LayerBuilder& builder, const CopyBounds& bounds = {});

// WORKDIR: the missing directories of a path.
void make_workdir(const RootfsPath& path, const Owner& owner, store::LayerBuilder& builder);

}  // namespace corten::build
