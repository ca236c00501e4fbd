#include "build/key.h"

namespace corten::build {

// A change of what any record holds, or of how steps are executed, is a new version: old actions then simply
// miss.
static constexpr std::string_view kVersion = "corten-key-1\n";

Digest KeyRecord::digest() const {
  return Digest::of(std::string(kVersion) + Json(members_).dump());
}

Json KeyRecord::json() const {
  Json record(members_);
  if (!notes_.empty()) record.set("beside", Json(notes_));
  return record;
}

}  // namespace corten::build
