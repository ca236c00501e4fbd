// A layer as a directory: what an overlay mount can stand on.
//
// Whiteouts are character devices 0/0 and opaque directories carry user.overlay.opaque, the one form that
// every rung can make and that an overlay mounted with `userxattr` reads. Where only one id exists, owners
// and device nodes are records (store/owners.h), and every file and directory has one. Big files are the
// store's contents themselves while a content has no other body (owner, mode and time belong to the file, so
// it can be claimed once), the others copies.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "store/contents.h"
#include "store/manifest.h"
#include "store/owners.h"
#include "store/tree.h"

namespace corten::store {

// Makes `path`, which must not exist, and all in it. `time` is the layer's, in seconds. Runs where the ids of
// the layer exist (as root, or inside the user namespace).
struct BodyOptions {
  bool may_link = true;  // false: every file is a copy, which its user may write to
  Owners owners;
};
// Gives the files that are links to the store's contents: they are to become the contents' homes.
std::vector<const Entry*> make_directory_body(const Manifest& manifest, int64_t time,
                                              const Contents& contents, const std::string& path,
                                              const BodyOptions& options = {});

struct CaptureOptions {
  int64_t started_ns = 0;              // times from here on were written by the step: they become the layer's
  std::set<int64_t> foreign_times_ns;  // times that a cache mount made up: the same
  int64_t layer_time = 0;              // seconds; set on every file that has the layer's time
  bool keep_times = false;             // --timestamps=source: every time is kept as it is
  std::set<RootfsPath>
      stub_parents;  // directories that the sandbox touched: left out when nothing else changed in them
  const Tree* below = nullptr;  // what the upper lies on
  Owners owners;
  // With recorded owners: who made what has no record, and who owns the link, fifo or socket at a path, as
  // far as the step said so.
  RecordedOwner maker;
  std::function<std::optional<RecordedOwner>(const RootfsPath&)> owner_of_special;
  unsigned threads = 1;
};

// Reads the upper of an overlay (userxattr) into a manifest, and gives what the step wrote the layer's time.
// The upper then is the layer's directory body: Layers::adopt().
Manifest capture_upper(const std::string& upper, const CaptureOptions& options);

}  // namespace corten::store
