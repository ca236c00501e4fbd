// An OCI image layout (image-spec v1.1, image-layout.md) as values: its two documents and its names. Reading
// and writing the files is the business of others.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "oci/index.h"

namespace corten::oci {

inline constexpr std::string_view kLayoutFileName = "oci-layout";
inline constexpr std::string_view kLayoutIndexName = "index.json";
inline constexpr std::string_view kRefNameAnnotation = "org.opencontainers.image.ref.name";
inline constexpr std::string_view kCreatedAnnotation = "org.opencontainers.image.created";
inline constexpr std::string_view kImageNameAnnotation = "io.containerd.image.name";

// {"imageLayoutVersion":"1.0.0"}
std::string emit_layout_file();
// Error(kInvalid) when it is none, Error(kUnsupported) for a major version other than 1.
void check_layout_file(std::string_view bytes);

// "blobs/sha256/<hex>"
std::string blob_path(const Digest& digest);

// The entry that `name` means: a digest ("sha256:..."), a full image name (io.containerd.image.name) or a tag
// (org.opencontainers.image.ref.name); "" means the only entry, or the one tagged latest. Error(kNotFound)
// names what there is.
const Descriptor& find_in_layout(const Index& index, std::string_view name);

// Adds or replaces the entry: one with the same names loses them to the new one, and goes away.
void put_in_layout(Index& index, Descriptor descriptor);

}  // namespace corten::oci
