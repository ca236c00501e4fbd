// A layer's blob, fetched into a file that goes away, and the tar in it.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "archive/source.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "cache/place.h"
#include "store/store.h"

namespace corten::cache {

class FetchedBlob {
 public:
  FetchedBlob(Place& place, const oci::Descriptor& blob, store::Store& store);
  std::string path() const { return directory_ / "blob"; }
  archive::ByteSource& tar() { return *tar_; }

 private:
  TempDir directory_;
  UniqueFd file_;
  archive::FdSource bytes_;
  std::unique_ptr<archive::ByteSource> plain_;
  std::optional<archive::LimitedSource> tar_;
};

}  // namespace corten::cache
