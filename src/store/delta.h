// What a layer changes in an earlier version of itself.
//
// A COPY of 20,000 files of which one was edited gives a layer that is nearly the one before. Its directory
// body need not be made again: a small directory on top of the old one shows the same (docs/decisions,
// "Delta lowers"). Where the two differ in a way that an overlay cannot say for every stack that the layer
// may stand in, there is no delta.
#pragma once
#include <optional>
#include <vector>

#include "store/manifest.h"

namespace corten::store {

struct Delta {
  // Stands on the directory of the earlier version: what is new or different, with the directories that lead
  // there, and whiteouts for what is gone.
  Manifest entries;
  // What the earlier version hid or had, and the new one does not. An overlay would hide these paths of the
  // layers beneath, so the delta is right only where none of them has one.
  std::vector<RootfsPath> absent;
};

// Both at the same layer time. Nothing when the delta would have more than `max_entries`, or when there is
// none.
std::optional<Delta> make_delta(const Manifest& earlier, const Manifest& later, size_t max_entries);

}  // namespace corten::store
