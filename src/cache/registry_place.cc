#include "cache/registry_place.h"

#include "base/error.h"
#include "oci/media_type.h"

namespace corten::cache {

std::string RegistryPlace::name() const {
  return "registry " + reference_.to_string();
}

std::optional<std::string> RegistryPlace::manifest() {
  try {
    return remote_.manifest(reference_).bytes;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kNotFound) return std::nullopt;
    throw;
  }
}

void RegistryPlace::put_manifest(std::string_view bytes) {
  remote_.put_manifest(reference_, bytes, std::string(oci::kOciManifest));
}

bool RegistryPlace::has_blob(const oci::Descriptor& blob) {
  return remote_.has_blob(reference_, blob.digest);
}

std::string RegistryPlace::read_blob(const oci::Descriptor& blob, size_t max_bytes) {
  return remote_.read_blob(reference_, blob, max_bytes);
}

std::string RegistryPlace::manifest_of(const oci::Descriptor& manifest, size_t max_bytes) {
  std::string bytes = remote_.manifest(reference_.with_digest(manifest.digest)).bytes;
  if (bytes.size() > max_bytes)
    fail(ErrorCode::kInvalid, "{}: manifest {} is too large", name(), manifest.digest.to_string());
  return bytes;
}

void RegistryPlace::fetch_blob(const oci::Descriptor& blob, int fd) {
  remote_.fetch_blob(reference_, blob, fd);
}

std::string RegistryPlace::read_part(const oci::Descriptor& blob, uint64_t offset, size_t size) {
  return remote_.read_part(reference_, blob, offset, size);
}

void RegistryPlace::put_blob(const NewBlob& blob) {
  remote_.push_blob(reference_, {.descriptor = blob.descriptor, .open = blob.open, .mount_from = {}});
}

}  // namespace corten::cache
