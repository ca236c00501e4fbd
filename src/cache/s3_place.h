// A cache in a bucket: PREFIX/BLOBS_PREFIX/sha256:HEX for each blob, PREFIX/MANIFESTS_PREFIX/NAME for the
// manifest under each of its names, the keys that BuildKit's type=s3 has (the manifest is our own).
//
// A blob of more than a part's size goes up in parts, each of which is sent again by itself; a download that
// is cut goes on by Range. Nothing is ever deleted here but what was not finished: a lifecycle rule of the
// bucket does that.
#pragma once
#include <semaphore>

#include "cache/place.h"
#include "cache/s3_bucket.h"
#include "registry/resumed_stream.h"

namespace corten::cache {

class S3Place : public Place {
 public:
  // Borrows the client and the clock.
  S3Place(const S3Spec& spec, http::Client& http, const Clock& clock, S3Options options = {});

  std::string name() const override;
  std::optional<std::string> manifest() override;
  void put_manifest(std::string_view bytes) override;
  bool has_blob(const oci::Descriptor& blob) override;
  std::string read_blob(const oci::Descriptor& blob, size_t max_bytes) override;
  void fetch_blob(const oci::Descriptor& blob, int fd) override;
  std::string read_part(const oci::Descriptor& blob, uint64_t offset, size_t size) override;
  void put_blob(const NewBlob& blob) override;  // at most upload_parallelism at once

 private:
  struct Upload;
  registry::ResumedObject object_of(const oci::Descriptor& blob);
  std::string blob_key(const oci::Descriptor& blob) const;
  std::string manifest_key(const std::string& name) const;
  void put_whole(const NewBlob& blob);
  void put_in_parts(const NewBlob& blob);

  const S3Spec spec_;
  S3Bucket bucket_;
  std::counting_semaphore<64> uploads_;
};

}  // namespace corten::cache
