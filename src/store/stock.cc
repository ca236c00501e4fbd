#include "store/stock.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "store/shelves.h"
#include "store/store.h"

namespace corten::store {

uint64_t disk_bytes(const std::string& path, std::set<std::pair<dev_t, ino_t>>& seen) {
  struct stat st;
  if (lstat(path.c_str(), &st) != 0) return 0;
  std::pair<dev_t, ino_t> file(st.st_dev, st.st_ino);
  if (!S_ISDIR(st.st_mode) && (st.st_nlink > 1 ? !seen.insert(file).second : seen.contains(file))) return 0;
  uint64_t sum = static_cast<uint64_t>(st.st_blocks) * 512;
  if (S_ISDIR(st.st_mode)) {
    std::vector<std::string> names;
    try {
      names = names_in(path);
    } catch (const Error&) {
      return sum;  // gone, or somebody else's: counted as it looks from outside
    }
    for (const std::string& name : names) sum += disk_bytes(path + "/" + name, seen);
  }
  return sum;
}

Rootfs parse_layers(const std::string& row) {
  Rootfs layers;
  try {
    Json list = Json::parse(row);
    for (const Json& layer : list.as_array())
      layers.push_back({Digest::from_hex(layer.get_string("layer")), layer.get_int("time")});
  } catch (const Error& error) {
    throw Error(ErrorCode::kCorrupt, fmt::format("store index: the layers of an image: {}", error.what()))
        .with_hint("run 'corten fsck --repair'");
  }
  return layers;
}

// Of a delta (store/lowers.cc): the name of the body that it stands on; "" of others.
static std::string standing_of(const std::string& body) {
  if (!body.ends_with(".delta")) return "";
  try {
    std::vector<std::string> lines = split(read_file(body + "/on", 64 << 20), '\n');
    return lines.size() > 1 ? lines[1] : "?";
  } catch (const Error&) {
    return "?";
  }
}

Stock Stock::take(Store& store) {
  Stock stock(store.path());
  stock.find_files(store);
  stock.read_index(store);
  stock.leases.read();
  stock.pin(store);
  return stock;
}

void Stock::find_files(Store& store) {
  const std::string& root = store.path();
  std::set<std::pair<dev_t, ino_t>> linked;            // files of bodies that are counted as contents
  std::map<std::string, std::vector<uint32_t>> homes;  // by the name of the body
  for_each_named(root + "/contents", [&](const std::string& path, const std::string& name) {
    struct stat st;
    auto digest = Digest::try_parse("sha256:" + name);
    if (!digest || lstat(path.c_str(), &st) != 0) return;
    if (S_ISLNK(st.st_mode)) {
      // ../../dirs/ab/BODY/...; a link to what is gone takes no room, and goes when nothing names it.
      std::string way(4096, '\0');
      ssize_t n = readlink(path.c_str(), way.data(), way.size());
      std::vector<std::string> parts = split(way.substr(0, n < 0 ? 0 : static_cast<size_t>(n)), '/');
      bool is_there = parts.size() > 5 && parts[2] == "dirs" && stat(path.c_str(), &st) == 0;
      if (is_there) {
        homes[parts[4]].push_back(static_cast<uint32_t>(contents.size()));
        linked.emplace(st.st_dev, st.st_ino);
      } else {
        st.st_blocks = 0;
      }
    }
    StoredContent content;
    content.path = path;
    content.bytes = static_cast<uint64_t>(st.st_blocks) * 512;
    content.digest = *digest;
    content_numbers.emplace(*digest, static_cast<uint32_t>(contents.size()));
    contents.push_back(std::move(content));
    if (st.st_nlink > 1) linked.emplace(st.st_dev, st.st_ino);
  });
  for_each_named(root + "/layers", [&](const std::string& path, const std::string& name) {
    struct stat st;
    auto id = Digest::try_parse("sha256:" + name);
    if (!id || lstat(path.c_str(), &st) != 0) return;
    StoredLayer& layer = layers[*id];
    layer.id = *id;
    layer.path = path;
    layer.bytes = static_cast<uint64_t>(st.st_blocks) * 512;
    std::string bytes;
    try {
      bytes = read_file(path);
      const Manifest manifest = Manifest::parse(bytes);  // named: a loop keeps no part of a temporary
      for (const Entry& entry : manifest.entries()) {
        if (entry.type != EntryType::kFile) continue;
        if (auto number = content_numbers.find(entry.content); number != content_numbers.end())
          layer.contents.push_back(number->second);
      }
    } catch (const Error& error) {
      // Gone this moment, or damaged (fsck says so). What else keeps us from reading it must not look as if
      // it named nothing.
      if (error.code() != ErrorCode::kNotFound && error.code() != ErrorCode::kCorrupt) throw;
      return;
    }
    std::sort(layer.contents.begin(), layer.contents.end());
    layer.contents.erase(std::unique(layer.contents.begin(), layer.contents.end()), layer.contents.end());
  });
  for_each_named(root + "/dirs", [&](const std::string& path, const std::string& name) {
    auto layer = Digest::try_parse("sha256:" + name.substr(0, 64));
    StoredBody body;
    body.path = path;
    body.name = name;
    if (layer) body.layer = *layer;
    body.bytes = disk_bytes(path, linked);
    body.on = standing_of(path);
    if (auto at = homes.find(name); at != homes.end()) body.homes = std::move(at->second);
    if (auto at = layer ? layers.find(*layer) : layers.end(); at != layers.end())
      at->second.bodies.push_back(bodies.size());
    bodies.push_back(std::move(body));
  });
  for_each_named(root + "/blobs", [&](const std::string& path, const std::string& name) {
    struct stat st;
    auto digest = Digest::try_parse("sha256:" + name);
    if (!digest || lstat(path.c_str(), &st) != 0) return;
    StoredBlob blob;
    blob.path = path;
    blob.digest = *digest;
    blob.bytes = static_cast<uint64_t>(st.st_blocks) * 512;
    blobs.push_back(std::move(blob));
  });
  std::set<std::pair<dev_t, ino_t>> seen;
  for (const char* kind : {"mounts", "git"})
    for (const std::string& name : names_in(root + "/" + kind)) {
      StoredPlace place;
      place.path = root + "/" + kind + "/" + name;
      struct stat st;
      if (lstat(place.path.c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) continue;
      place.id = place.name = name;
      place.is_mount = std::string_view(kind) == "mounts";
      place.created = place.used = st.st_mtim.tv_sec;
      place.bytes = disk_bytes(place.path, seen);
      places.push_back(std::move(place));
    }
  for (const char* name : {"builds", "tmp", "stat", "lists"})
    other_bytes += disk_bytes(root + "/" + name, seen);
}

void Stock::read_index(Store& store) {
  Database& database = store.database();
  {
    Statement row = database.prepare("SELECT key, layer, created, used, record FROM actions");
    while (row.step())
      actions.push_back({row.digest(0), row.digest(1), row.integer(2), row.integer(3), row.text(4), false});
  }
  {
    Statement row = database.prepare(
        "SELECT i.id, i.layers, i.added, EXISTS(SELECT 1 FROM tags t WHERE t.image=i.id) FROM images i");
    while (row.step()) {
      StoredImage image;
      image.id = row.digest(0);
      image.layers = parse_layers(row.text(1));
      image.added = row.integer(2);
      image.has_name = row.integer(3) != 0;
      images.push_back(std::move(image));
    }
  }
  for (const ImageIndex& index : store.indexes())
    for (StoredImage& image : images)
      for (const ImageIndex::Member& member : index.members) image.has_name |= member.image == image.id;
  std::map<Digest, size_t> blob_numbers;
  for (size_t i = 0; i < blobs.size(); i++) blob_numbers[blobs[i].digest] = i;
  for (const StoredImage& image : images)
    if (auto at = blob_numbers.find(image.id); at != blob_numbers.end()) blobs[at->second].is_root = true;
  {
    Statement row = database.prepare(
        "SELECT b.digest, d.layer, b.format, b.used FROM blobs b JOIN diffs d ON d.diff_id=b.diff_id");
    while (row.step()) {
      auto at = blob_numbers.find(row.digest(0));
      if (at == blob_numbers.end()) continue;
      StoredBlob& blob = blobs[at->second];
      if (auto layer = layers.find(row.digest(1));
          layer != layers.end() && blob.layers.insert(layer->first).second)
        layer->second.blobs.push_back(at->second);
      blob.format = row.text(2);
      blob.used = std::max(blob.used, row.integer(3));
      blob.came_so |= blob.format == "as-pulled";
    }
  }
  {
    std::map<std::pair<Digest, int64_t>, int64_t> uses;
    Statement row = database.prepare("SELECT layer, time, max(used) FROM bodies GROUP BY layer, time");
    while (row.step()) uses[{row.digest(0), row.integer(1)}] = row.integer(2);
    for (StoredBody& body : bodies) {
      // LAYER-TIME or LAYER-TIME-MAPPING, and .delta
      std::string_view rest = std::string_view(body.name).substr(std::min<size_t>(65, body.name.size()));
      body.time = parse_int(rest.substr(0, rest.find_first_of("-.", 1))).value_or(0);
      if (auto at = uses.find({body.layer, body.time}); at != uses.end()) body.used = at->second;
    }
  }
  Statement row = database.prepare("SELECT id, name, created, used, sharing, owner FROM cache_mounts");
  while (row.step())
    for (StoredPlace& place : places) {
      if (!place.is_mount || place.id != row.text(0)) continue;
      place.name = row.text(1);
      place.created = row.integer(2);
      place.used = row.integer(3);
      place.sharing = row.text(4);
      place.owner = row.text(5);
    }
}

// What may not go: what images lead to (until one of them goes), and what is in use.
void Stock::pin(Store& store) {
  auto pin_layer = [&](const Digest& id, bool is_busy) {
    auto layer = layers.find(id);
    if (layer == layers.end()) return;
    layer->second.pins++;
    layer->second.is_busy |= is_busy;
  };
  for (const StoredImage& image : images)
    for (const LayerRef& layer : image.layers) pin_layer(layer.id, false);
  for (const Digest& id : store.other_roots()) pin_layer(id, true);
  for (const Digest& id : leases.of(Held::kLayer)) pin_layer(id, true);
  for (const StoredAction& action : actions)
    if (auto layer = layers.find(action.layer); layer != layers.end()) layer->second.actions++;
  for (const Digest& digest : leases.of(Held::kContent))
    if (auto at = content_numbers.find(digest); at != content_numbers.end())
      contents[at->second].is_held = true;
  for (StoredBlob& blob : blobs) {
    blob.is_held = leases.names(Held::kBlob, blob.digest);
    for (const Digest& layer : blob.layers) blob.is_held |= layers.at(layer).is_busy;
  }
  for (StoredPlace& place : places)
    for (const Digest& held : leases.of(place.is_mount ? Held::kMount : Held::kGit))
      place.is_busy |= held.hex().starts_with(place.id);
}

uint64_t Stock::bytes_of(const StoredLayer& layer) const {
  uint64_t sum = layer.bytes;
  for (uint32_t number : layer.contents) sum += contents[number].bytes;
  for (size_t number : layer.bodies) sum += bodies[number].bytes;
  for (size_t number : layer.blobs) sum += blobs[number].bytes;
  return sum;
}

uint64_t Stock::total_bytes() const {
  uint64_t sum = other_bytes;
  for (const auto& [id, layer] : layers) sum += layer.bytes;
  for (const StoredContent& content : contents) sum += content.bytes;
  for (const StoredBody& body : bodies) sum += body.bytes;
  for (const StoredBlob& blob : blobs) sum += blob.bytes;
  for (const StoredPlace& place : places) sum += place.bytes;
  return sum;
}

}  // namespace corten::store
