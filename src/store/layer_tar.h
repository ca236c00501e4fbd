// Between layers and their tars (image-spec v1.1, layer.md: whiteouts are `.wh.NAME`, opaque directories hold
// `.wh..wh..opq`).
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "archive/tar.h"
#include "store/contents.h"
#include "store/layer_builder.h"

namespace corten::store {

// Writes the members of a layer in path order. Entries without a time of their own get `time` (seconds). The
// caller ends the archive.
struct TarTimes {
  int64_t time = 0;
  std::optional<int64_t> clamp;  // rewrite-timestamp: no member is newer than this, in seconds
};
void write_layer_tar(const Manifest& manifest, const TarTimes& times, const Contents& contents,
                     archive::TarWriter& to);
// The members of one entry. They are a function of the entry and the times alone: layers that begin with the
// same entries have tars that begin with the same bytes.
// `verify`: Error(kCorrupt) when a content's bytes have another digest than its name.
void write_layer_entry(const Entry& entry, const TarTimes& times, const Contents& contents,
                       archive::TarWriter& to, bool verify = false);
// Where the members of each entry begin, in bytes from the start of the tar; one more for the end of the
// last.
std::vector<uint64_t> layer_tar_offsets(const Manifest& manifest, const TarTimes& times);

// What an archive may unpack to when nobody said otherwise: a small one can claim to hold more than there is
// room for on this machine.
inline constexpr uint64_t kUsualUnpackedBytes = uint64_t{64} << 30;

// A member of a layer's tar; a file's content is in the store.
struct LayerMember {
  archive::TarHeader header;
  Contents::Added content;
};
// All of them, in their order. What lies below is not asked: layers of one image can be read in any order,
// and at once. Error(kInvalid) when its sparse files have more than `max_hole_bytes` that are not in the tar,
// or names take too much memory.
std::vector<LayerMember> read_layer_members(archive::ByteSource& tar, Contents& contents,
                                            uint64_t max_hole_bytes = kUsualUnpackedBytes);
// What they make of `below` (a hard link may name a file of a lower layer): whiteouts are obeyed, names are
// clamped to the root, links on the way are followed inside it. All times are kept.
Manifest build_layer(const std::vector<LayerMember>& members, const Tree& below);
// Both.
Manifest read_layer_tar(archive::ByteSource& tar, const Tree& below, Contents& contents,
                        uint64_t max_hole_bytes = kUsualUnpackedBytes);

// The contents of a layer whose manifest is known: all that its tar holds, under their digests. Whoever asked
// looks whether what the manifest names is there now.
void read_layer_contents(archive::ByteSource& tar, Contents& contents,
                         uint64_t max_hole_bytes = kUsualUnpackedBytes);

struct ExtractOptions {
  RootfsPath destination;                              // a directory; made when missing
  std::optional<std::pair<uint32_t, uint32_t>> owner;  // --chown
  Entry parent_like;                                   // what the made destination looks like
  std::string name = "archive";                        // for errors
  uint64_t max_bytes = kUsualUnpackedBytes;            // of the tar, and of the files in it
  uint64_t max_hole_bytes = kUsualUnpackedBytes;       // of the files in it and not of the tar
  // Of memory that the members' names may take here, about. Some four million files.
  uint64_t max_memory_bytes = kUsualUnpackedBytes / 16;
  void set_limit(uint64_t unpacked_bytes) {
    max_bytes = max_hole_bytes = unpacked_bytes;
    max_memory_bytes = unpacked_bytes / 16;
  }
};
// ADD's extraction: the archive's members below `destination`. Whiteout names are ordinary files here.
// Error(kInvalid) `NAME: it unpacks to more than N bytes`, `NAME: it holds too many files, or too long
// names`.
void extract_tar(archive::ByteSource& tar, const ExtractOptions& options, LayerBuilder& into,
                 Contents& contents);

}  // namespace corten::store
