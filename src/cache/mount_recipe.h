// A cache mount on its way: what lies in it, and of which chunks its bytes are made.
//
// The files' contents are one stream, in the order of the paths; chunks (chunker.h) are pieces of it, each a
// zstd blob of its own. A chunk is known by the digest of its plain bytes: another level or another version
// of the library gives other blobs of the same chunk, and a chunk that a place has need not be sent again
// whatever made its blob. Format: docs/formats/cache-mounts.md.
//
// Whoever may write a cache may write any recipe, so one is believed in nothing: paths are clean, in order,
// each once and in a directory of the recipe; hard links name a file before them; sizes add up.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/digest.h"
#include "oci/descriptor.h"

namespace corten::cache {

inline constexpr std::string_view kRecipeMediaType = "application/vnd.corten.cache.mount.v1+zstd";
inline constexpr std::string_view kChunkMediaType = "application/vnd.corten.cache.chunk.v1+zstd";
// What a recipe may say at most; a mount that has more does not travel.
inline constexpr uint64_t kMaxMountBytes = uint64_t{1} << 40;
inline constexpr size_t kMaxMountEntries = 4'000'000, kMaxRecipeBytes = size_t{256} << 20;

struct MountEntry {
  enum class Type : uint8_t {
    kDirectory,
    kFile,
    kSymlink,
    kHardLink,
    kGap,   // bytes of the stream that belong to nothing: of a file that changed while it was read
    kSeen,  // the record of build/cache_memory.h, which lies beside what is mounted
  };
  Type type = Type::kFile;
  std::string path;  // relative, clean; "": what is mounted itself (of the first entry)
  uint32_t mode = 0, uid = 0, gid = 0;
  int64_t mtime_ns = 0;
  uint64_t size = 0;  // file, gap, seen
  std::string link;   // symlink: its text; hard link: the path of a file before it
  bool operator==(const MountEntry&) const = default;
};

struct MountChunk {
  Digest content;  // of the plain bytes
  uint32_t size = 0;
  oci::Descriptor blob;
  bool operator==(const MountChunk&) const = default;
};

struct MountRecipe {
  std::vector<MountEntry> entries;
  std::vector<MountChunk> chunks;  // in the stream's order; one may come again
  uint64_t bytes() const;
  bool operator==(const MountRecipe&) const = default;
};

// What a place has, by the digest of the plain bytes.
using KnownChunks = std::unordered_map<Digest, oci::Descriptor>;

std::string emit_recipe(const MountRecipe& recipe);
// Error(kCorrupt) for everything that emit_recipe() does not write.
MountRecipe parse_recipe(std::string_view bytes);

// The same without compression.
std::string emit_recipe_body(const MountRecipe& recipe);
MountRecipe parse_recipe_body(std::string_view body);

KnownChunks known_chunks(const MountRecipe& recipe);
// Each once, in their order.
std::vector<oci::Descriptor> chunk_blobs(const MountRecipe& recipe);

}  // namespace corten::cache
