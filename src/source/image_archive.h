// Archives of images as `docker save` and others write them: a tar that holds an OCI layout, or Docker's own
// form, in which manifest.json names each image's config, its layers as tars, and its names.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "archive/source.h"
#include "oci/config.h"
#include "store/store.h"

namespace corten::source {

// The archive's files (any compression) below an empty directory of ours: names are clamped to it, a link
// becomes a copy of what it names, which must have come before, and other things are left out.
// Error(kInvalid) when it unpacks to `max_more_bytes` more than it holds.
void unpack_image_archive(archive::ByteSource& from, const std::string& directory, uint64_t max_more_bytes);

// manifest.json; the names of files are as they stand there. Error(kInvalid), also for more than 1,000
// images.
struct DockerImage {
  std::string config;
  std::vector<std::string> layers, tags;
};
std::vector<DockerImage> parse_docker_manifest(std::string_view text);

// One of them with its layers in the store. Error(kInvalid) names a file that is missing.
struct LoadedImage {
  oci::ImageConfig config;
  store::Rootfs layers;
};
LoadedImage load_docker_image(const DockerImage& image, const std::string& directory, store::Store& store);

}  // namespace corten::source
