// Cache mounts that travel: a mount's directory in the store to a recipe and chunks, and back.
//
// `data/` is what is mounted, `seen` the record of what was built beside it (build/cache_memory.h); locks
// stay behind. Files, directories, symbolic and hard links go, with owner, mode and time to the nanosecond,
// since build tools compare those; sockets, fifos, devices and extended attributes do not, and neither does
// what changes or cannot be read while it is packed. Nobody should be writing to the mount (the caller holds
// its lock), but if somebody does, what arrives is still what was read, whole files only.
//
// Memory: the list of entries, and a few chunks.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "base/thread_pool.h"
#include "cache/mount_recipe.h"
#include "store/owners.h"

namespace corten::cache {

struct PackOptions {
  store::Owners owners;
  const KnownChunks& known;  // that the place has already: of a recipe of before
  std::function<void(const oci::Descriptor&, std::string bytes)>
      put;  // a chunk that it has not; called in turn
  Cancellation cancellation = {};
  int level = 3;  // of zstd
};

struct PackedMount {
  std::string recipe;
  std::vector<oci::Descriptor> chunks;  // all that the recipe names, each once
  uint64_t bytes = 0;                   // of the contents
  uint64_t put_bytes = 0;               // of the chunks that were put, as they are sent
  size_t left_out = 0;                  // entries that stayed behind
};

// Error(kUnsupported) for a mount with more entries or bytes than a recipe holds.
PackedMount pack_mount(const std::string& directory, const PackOptions& options);

struct UnpackOptions {
  store::Owners owners;
  // A chunk's blob; called by several threads at once. What it gives is verified.
  std::function<std::string(const oci::Descriptor&)> fetch;
  Cancellation cancellation = {};
  unsigned threads = 4;  // that fetch ahead
};

// Makes data/ and, when there is one, seen in `directory`, which has neither. Error(kCorrupt) for a recipe
// that lies and for chunks of other bytes; what was made by then is the caller's to remove.
void unpack_mount(std::string_view recipe, const std::string& directory, const UnpackOptions& options);

}  // namespace corten::cache
