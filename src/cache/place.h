// Where a travelling cache lies: blobs by digest, and one manifest under a name, which an export replaces.
//
// One interface for a registry's repository, a directory (an OCI layout) and a bucket (S3): what is kept
// there is the same (index.h). A place promises that a blob, once put, stays as long as the manifest names
// it, and nothing else: two writers may replace the manifest in turn, and whoever wants its own entries in
// looks again.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "archive/source.h"
#include "oci/descriptor.h"

namespace corten::cache {

// A blob to put: opened when it is sent, and again when a transfer has to start anew.
struct NewBlob {
  oci::Descriptor descriptor;
  std::function<std::unique_ptr<archive::ByteSource>(uint64_t offset)> open;
};

// Thread-safe. Every call may throw Error; what is read is verified by digest and size.
class Place {
 public:
  virtual ~Place() = default;
  // As people and a store's rows name it: "registry example.com/app:cache", "local /srv/cache".
  virtual std::string name() const = 0;
  // The manifest's bytes now; nothing when there is none yet.
  virtual std::optional<std::string> manifest() = 0;
  // Replaces it at once, and durably where the place can be. All blobs that it names are there.
  virtual void put_manifest(std::string_view bytes) = 0;
  virtual bool has_blob(const oci::Descriptor& blob) = 0;
  // A small one, whole.
  virtual std::string read_blob(const oci::Descriptor& blob, size_t max_bytes) = 0;
  // A manifest that another one names, whole.
  virtual std::string manifest_of(const oci::Descriptor& manifest, size_t max_bytes) {
    return read_blob(manifest, max_bytes);
  }
  // Into an empty file, from its start.
  virtual void fetch_blob(const oci::Descriptor& blob, int fd) = 0;
  // Bytes of a blob from an offset on, not verified: of one whose parts are known by other digests.
  virtual std::string read_part(const oci::Descriptor& blob, uint64_t offset, size_t size) = 0;
  // Nothing happens when it is there.
  virtual void put_blob(const NewBlob& blob) = 0;
  // Takes away what the manifest does not name, where nobody else does that. Gives the bytes.
  virtual uint64_t drop_unreachable() { return 0; }
};

}  // namespace corten::cache
