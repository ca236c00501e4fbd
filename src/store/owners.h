// How this machine keeps the owners of an image's files: as they are, or, where only one id exists, as
// records (base/recorded_owner.h). A value.
#pragma once
#include <cstdint>
#include <string>

#include "base/recorded_owner.h"

namespace corten::store {

struct Owners {
  std::string mapping =
      "root";  // sandbox::IdMapping::to_string(): a body made under one is none under another
  bool recorded = false;

  // Of the file or directory `dir`/`name`, which is no link. Error(kUnsupported) for an id that we do not
  // have.
  void give(int dir, const std::string& name, const RecordedOwner& owner, const std::string& shown) const;
};

}  // namespace corten::store
