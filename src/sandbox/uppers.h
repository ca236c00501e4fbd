// Where a step's writes can go: the ladder of file systems.
//
// An overlay keeps them apart from the layers, if its upper lies on a file system that can carry one: an
// overlay itself, which is what the root of every container is, and network file systems cannot. Memory can.
// Where there are no overlays, a step gets a copy of the whole tree.
#pragma once
#include <string>

#include "base/path.h"
#include "sandbox/privilege.h"

namespace corten::sandbox {

enum class Uppers {
  kOnStore,   // overlays whose uppers lie beside their layers
  kInMemory,  // overlays whose uppers are in memory; layers without whiteouts lie on the disk
  kCopied,    // no overlays
};
std::string_view uppers_name(Uppers uppers);

struct FoundUppers {
  Uppers uppers = Uppers::kOnStore;
  std::string why, climb;  // not the best, and the line that climbs
};
// Tries them in a directory of the store. After enter(); thread-safe.
FoundUppers find_uppers(const Entered& entered, const HostPath& directory);

}  // namespace corten::sandbox
