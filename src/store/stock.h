// What lies in the store, with sizes and with what leads to what. A value of one moment.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "store/collector.h"
#include "store/lease.h"

namespace corten::store {

// A file or directory below the store.
struct StoredThing {
  std::string path;
  uint64_t bytes = 0;
  bool stays = false;  // chosen to stay, or found to be needed while sweeping
};

struct StoredBody : StoredThing {
  Digest layer;
  std::string on;               // of a delta: the name of the body that it stands on
  std::vector<uint32_t> homes;  // contents whose bytes lie in it, counted with them
  std::string name, mapping;
  int64_t time = 0, used = 0;
};

struct StoredLayer : StoredThing {
  Digest id;
  std::vector<uint32_t> contents;  // numbers in Stock::contents
  std::vector<size_t> bodies, blobs;
  size_t pins = 0;       // images, containers, leases
  size_t actions = 0;    // that gave it
  bool is_busy = false;  // a running command or a container stands on it
};

struct StoredContent : StoredThing {
  Digest digest;
  size_t layers = 0;  // that name it and stay
  bool is_held = false, is_counted = false;
};

struct StoredBlob : StoredThing {
  Digest digest;
  std::set<Digest> layers;
  std::string format;
  int64_t used = 0;
  bool is_root = false;  // an image's config
  bool came_so = false;  // cannot be made again
  bool is_held = false;
};

struct StoredAction {
  Digest key, layer;
  int64_t created = 0, used = 0;
  std::string record;
  bool goes = false;
};

struct StoredImage {
  Digest id;
  Rootfs layers;
  int64_t added = 0;
  bool has_name = false, goes = false;
};

// A cache mount or a copy of a repository.
struct StoredPlace : StoredThing {
  std::string id, name, sharing, owner;
  int64_t created = 0, used = 0;
  bool is_mount = false, is_busy = false;
};

class Stock {
 public:
  // Reads everything. The leases are read after the index, so that nothing lies between the two.
  static Stock take(Store& store);

  std::unordered_map<Digest, uint32_t> content_numbers;
  std::vector<StoredContent> contents;
  std::map<Digest, StoredLayer> layers;
  std::vector<StoredBody> bodies;
  std::vector<StoredBlob> blobs;
  std::vector<StoredAction> actions;
  std::vector<StoredImage> images;
  std::vector<StoredPlace> places;
  uint64_t other_bytes = 0;  // logs, what is being made; the index and its locks do not count
  LeasesRead leases;

  uint64_t total_bytes() const;
  // What a layer takes: its manifest, bodies, contents and blobs.
  uint64_t bytes_of(const StoredLayer& layer) const;

 private:
  explicit Stock(const std::string& root) : leases(root) {}
  void find_files(Store& store);
  void read_index(Store& store);
  void pin(Store& store);
};

// The layers of an image, as its row has them. Error(kCorrupt).
Rootfs parse_layers(const std::string& row);

// Bytes on disk of a file, or of a directory with all in it; files with several names once for each `seen`.
uint64_t disk_bytes(const std::string& path, std::set<std::pair<dev_t, ino_t>>& seen);

}  // namespace corten::store
