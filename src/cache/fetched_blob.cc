#include "cache/fetched_blob.h"

#include <fcntl.h>
#include <unistd.h>

#include "archive/compression.h"
#include "base/error.h"

namespace corten::cache {

static constexpr uint64_t kMaxLayerBytes = uint64_t{1} << 40;

FetchedBlob::FetchedBlob(Place& place, const oci::Descriptor& blob, store::Store& store)
    : directory_(store.temporary("layer-")),
      file_(open_file(path(), O_RDWR | O_CREAT | O_EXCL, 0644)),
      bytes_(file_.get(), path()) {
  place.fetch_blob(blob, file_.get());
  if (lseek(file_.get(), 0, SEEK_SET) != 0) fail_errno("seek {}", path());
  plain_ = archive::open_decompressor(bytes_);
  tar_.emplace(*plain_, kMaxLayerBytes, "layer blob " + blob.digest.to_string());
}

}  // namespace corten::cache
