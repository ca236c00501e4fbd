// Tags that must not move, and `latest` that must not go back.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "image/export.h"
#include "oci/reference.h"
#include "registry/remote.h"
#include "source/registry_image.h"
#include "store/store.h"

namespace corten::cli {

struct MoveRules {
  std::vector<std::string> immutable;  // patterns of tags, or of whole names
  bool latest_may_go_back = false;
};

// Before a tag is written: Error(kExists) for one that the rules keep where it is. `root` gives the digest
// that the set will have, and compresses for that: it is asked only where the tag is of this very image.
void check_moves(const std::vector<oci::Reference>& names, const MoveRules& rules, const image::ImageSet& set,
                 const std::function<Digest()>& root, registry::Remote& remote,
                 source::RegistryImages& images);

}  // namespace corten::cli
