// -o, --output: what a build leaves, and in which form.
//
// Source: docs/reference of docker buildx and BuildKit's exporters (dockerfile-features.md, section 3.4).
// Nothing is ignored without a word: an attribute is obeyed, refused by name, or warned about.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "image/annotations.h"
#include "image/layer_blobs.h"

namespace corten::cli {

struct OutputSpec {
  std::string type;  // oci, docker, local, tar, image (registry is one that is pushed), cacheonly
  std::string dest;  // a path; "-": standard output; "": none
  std::vector<std::string> names;
  image::Compression compression;
  bool docker_media_types = false;
  bool as_tar = true;                         // oci, docker: an archive, or a directory
  bool is_stored = true;                      // image: kept in the store
  bool is_pushed = false, by_digest = false;  // image: goes to the registry that its names say
  bool rewrite_timestamp = false;
  bool delete_others = false;                // local: mode=delete
  std::optional<bool> platform_split;        // local, tar; unset: with several platforms
  std::optional<int64_t> source_date_epoch;  // seconds
  std::vector<image::AnnotationRule> annotations;
  std::vector<std::string> remarks;  // what is taken without an effect, to be said

  // Ends in the store rather than in files.
  bool goes_to_store() const { return type == "image" || (type == "docker" && dest.empty()); }
  bool is_image() const { return type == "oci" || type == "docker" || type == "image"; }
};

// `type=oci,dest=x`, a bare directory, or `-`. Error(kUsage) for what cannot be read, Error(kUnsupported) for
// what is not executed.
OutputSpec parse_output(std::string_view text);

// "zstd": all layers in this form, also those that came in another. Error(kUsage).
image::Compression parse_forced_compression(const std::string& text);

// key=value[,key=value]; CSV quoting as buildx has it.
std::map<std::string, std::string> parse_attributes(std::string_view text);

}  // namespace corten::cli
