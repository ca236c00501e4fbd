// A layer as a sorted list of entries: what changed, with the contents named by digest.
//
// The manifest is the layer's identity. It holds everything that a later step can see, except time stamps
// that nobody set: an entry without a time of its own has its layer's, which is kept beside the layer's id
// (LayerRef), so that the same files made on two days are the same layer.
//
// The canonical bytes (docs/formats, "Layer manifest") start with "corten-layer-1\n"; the layer's id is
// their SHA-256.
#pragma once
#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/path.h"

namespace corten::store {

enum class EntryType : uint8_t { kFile, kDirectory, kSymlink, kCharDevice, kBlockDevice, kFifo, kWhiteout };

// Extended attributes by name. One in a thousand files has any: the others pay a pointer.
class Xattrs {
 public:
  using Map = std::map<std::string, std::string>;
  Xattrs() = default;
  Xattrs(Xattrs&&) = default;
  Xattrs(const Xattrs& other) : map_(other.map_ ? std::make_unique<Map>(*other.map_) : nullptr) {}
  Xattrs& operator=(Xattrs&&) = default;
  Xattrs& operator=(const Xattrs& other) { return *this = Xattrs(other); }

  const Map& map() const;
  bool empty() const { return map().empty(); }
  std::string& operator[](const std::string& name) {
    if (!map_) map_ = std::make_unique<Map>();
    return (*map_)[name];
  }
  void clear() { map_.reset(); }
  bool operator==(const Xattrs& other) const { return map() == other.map(); }

 private:
  std::unique_ptr<Map> map_;
};

struct Entry {
  RootfsPath path;
  EntryType type = EntryType::kFile;
  uint32_t mode = 0;  // the twelve permission bits; 0 for symlinks and whiteouts
  uint32_t uid = 0, gid = 0;
  uint64_t size = 0;  // bytes, of a file
  Digest content;     // of a file
  std::string link;   // target of a symlink
  uint32_t device_major = 0, device_minor = 0;
  bool opaque = false;             // a directory that hides what lower layers have in it
  Xattrs xattrs;                   // security.capability alone reaches layers, as with BuildKit
  std::optional<int64_t> time_ns;  // a time that was set; nothing: the layer's
  // Another path of this layer that names the same file; empty for the first of them (in path order). All
  // other fields are those of the first.
  RootfsPath hard_link;

  bool is_directory() const { return type == EntryType::kDirectory; }
  bool is_hard_link() const { return !hard_link.is_root(); }
  bool operator==(const Entry&) const = default;
};

// A layer's manifest. Immutable; thread-safe.
class Manifest {
 public:
  Manifest();
  // Sorts the entries. Error(kInternal) when a path stands twice.
  explicit Manifest(std::vector<Entry> entries);

  const std::vector<Entry>& entries() const { return entries_; }
  bool empty() const { return entries_.empty(); }
  const Entry* find(const RootfsPath& path) const;
  // The entries right below a directory, in order; the directory itself need not have an entry.
  std::vector<const Entry*> children(const RootfsPath& directory) const;

  std::string serialize() const;
  // Error(kCorrupt) for anything that serialize() would not write.
  static Manifest parse(std::string_view bytes);
  Digest id() const;

  uint64_t content_bytes() const;                 // sum of file sizes, hard links counted once
  std::optional<int64_t> newest_time_ns() const;  // of the entries that have a time of their own
  bool has_symbolic_times() const;

 private:
  std::vector<Entry> entries_;
};

// What of its entries a digest or a list takes.
struct EntryForm {
  bool times = true;
  bool opaque = true;
};
// The bytes of a manifest of these entries, which are in path order.
std::string serialize_entries(std::span<const Entry* const> entries, const EntryForm& form = {});

// Goes through the bytes of a manifest without making entries of them, for who looks for few among many.
// Error(kCorrupt). The bytes must outlive it.
class ManifestCursor {
 public:
  explicit ManifestCursor(std::string_view bytes);
  // To the next entry; false: there was none left.
  bool next();
  std::string_view path() const { return path_; }
  std::string_view raw() const { return raw_; }  // equal where entries are
  Entry entry() const;

 private:
  std::string_view rest_, path_, raw_;
  uint64_t left_ = 0;
};

// A layer at its place in an image: which one, and the time of its entries that have none (seconds since
// 1970).
struct LayerRef {
  Digest id;
  int64_t time = 0;
  auto operator<=>(const LayerRef&) const = default;
};

// A stack of layers, the lowest first.
using Rootfs = std::vector<LayerRef>;

// What a key holds of a rootfs: ids and times, so that what a step saw is what its key says.
Digest rootfs_digest(const Rootfs& rootfs);

}  // namespace corten::store
