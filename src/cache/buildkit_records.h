// What BuildKit's caches hold: `application/vnd.buildkit.cacheconfig.v0`, in a registry or a directory (an
// index or an image manifest leads to it), and the same list of records in an image's config.
//
// A record is a key: the digest of an operation, and for each of its inputs the records that may stand there.
// A record may have results: stacks of layers, of which the uppermost is what the operation made.
// Source: BuildKit v0.32.2, cache/remotecache/v1/types, as measured.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "cache/place.h"
#include "oci/manifest.h"

namespace corten::cache {

inline constexpr std::string_view kBuildkitConfigType = "application/vnd.buildkit.cacheconfig.v0";
inline constexpr std::string_view kBuildkitInlineMember = "moby.buildkit.cache.v0";

// A layer's blob, and the digest of its tar when the cache says it.
struct BuildkitLayer {
  oci::Descriptor blob;
  std::optional<DiffId> diff_id;
  bool operator==(const BuildkitLayer&) const = default;
};

struct BuildkitRecord {
  struct Link {
    std::string selector;  // which part of the input is meant: a digest as text, or ""
    size_t record = 0;
    bool operator==(const Link&) const = default;
  };
  Digest digest;
  std::vector<std::vector<Link>> inputs;
  std::vector<std::vector<size_t>> results;  // layers, the lowest first
  bool operator==(const BuildkitRecord&) const = default;
};

// All that one config says. Every index in it is in bounds. A value.
class BuildkitRecords {
 public:
  // Error(kInvalid) for what contradicts itself or is larger than any cache. `blobs` are those that the
  // manifest names: a result with a layer that is not among them is no result, as with BuildKit.
  static BuildkitRecords parse(std::string_view config, const std::vector<oci::Descriptor>& blobs);
  // Of an image; nothing when it carries no such cache.
  static std::optional<BuildkitRecords> parse_inline(const oci::Manifest& manifest,
                                                     std::string_view image_config);

  const std::vector<BuildkitRecord>& records() const { return records_; }
  const std::vector<BuildkitLayer>& layers() const { return layers_; }
  // The records with this digest.
  const std::vector<size_t>& with(const Digest& digest) const;

 private:
  void add_records(const Json& list, const std::vector<std::optional<size_t>>& layers,
                   const std::vector<int64_t>& parents);

  std::vector<BuildkitRecord> records_;
  std::vector<BuildkitLayer> layers_;
  std::map<Digest, std::vector<size_t>> by_digest_;
};

// All caches of BuildKit's that this manifest leads to: of an index of images those of all of them. Nothing
// when it is none. `image_config` is set to an image's config when it was read and is none.
std::optional<std::vector<BuildkitRecords>> read_buildkit_records(Place& place, std::string_view manifest,
                                                                  std::optional<std::string>& image_config);

}  // namespace corten::cache
