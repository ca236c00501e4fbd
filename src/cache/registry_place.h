// A cache in a registry: an image manifest under a tag, its blobs in the same repository.
#pragma once
#include "cache/place.h"
#include "oci/reference.h"
#include "registry/remote.h"

namespace corten::cache {

// `remote` is borrowed.
class RegistryPlace : public Place {
 public:
  RegistryPlace(registry::Remote& remote, oci::Reference reference)
      : remote_(remote), reference_(std::move(reference)) {}

  std::string name() const override;
  std::optional<std::string> manifest() override;
  void put_manifest(std::string_view bytes) override;
  bool has_blob(const oci::Descriptor& blob) override;
  std::string read_blob(const oci::Descriptor& blob, size_t max_bytes) override;
  std::string manifest_of(const oci::Descriptor& manifest, size_t max_bytes) override;
  void fetch_blob(const oci::Descriptor& blob, int fd) override;
  std::string read_part(const oci::Descriptor& blob, uint64_t offset, size_t size) override;
  void put_blob(const NewBlob& blob) override;

 private:
  registry::Remote& remote_;
  const oci::Reference reference_;
};

}  // namespace corten::cache
