#include "store/collector.h"
#include "store/shelves.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "store/room.h"
#include "store/stock.h"
#include "store/store.h"

namespace corten::store {

namespace {

constexpr size_t kPortion = 256;  // renames under one closing of the gate

std::string description_of(const StoredAction& action, std::string& type) {
  type = "regular";
  Json record;
  try {
    record = Json::parse(action.record);
  } catch (const Error&) {
    return "";
  }
  auto words = [&](const char* name) {
    std::vector<std::string> list;
    if (const Json* json = record.find(name); json && json->is_array())
      for (const Json& word : json->as_array())
        if (word.is_string()) list.push_back(word.as_string());
    return join(list, " ");
  };
  std::string step = record.get_string("step");
  if (step == "run") return "RUN " + words("command");
  if (step == "copy" || step == "add")
    return to_upper(step) + " " + words("sources") + " " + record.get_string("destination");
  if (step == "workdir") return "WORKDIR " + record.get_string("path");
  if (step == "git") {
    type = "source.git.checkout";
    return record.get_string("remote") + "#" + record.get_string("commit");
  }
  if (step == "http") type = "source.http";
  return step;
}

// What is to go, chosen on a stock; and the going.
class Collection {
 public:
  Collection(Store& store, Stock& stock, const CollectOptions& options)
      : store_(store), stock_(stock), options_(options) {}

  std::vector<CacheRecord> all_records() {
    std::vector<CacheRecord> list;
    for (const Unit& unit : units()) list.push_back(unit.record);
    return list;
  }

  void choose() {
    total_ = stock_.total_bytes();
    FileSystemRoom room = room_of(store_.path());
    free_ = room.free_bytes;
    for (StoredImage& image : stock_.images)
      if (options_.images.contains(image.id)) release_image(image);
    release_orphans();
    if (!options_.may_go) return;
    for (Unit& unit : units()) {
      if (!options_.all && is_enough()) break;
      if (options_.reserved_bytes && total_ - freed_ <= options_.reserved_bytes) break;
      if (unit.record.in_use || !options_.may_go(unit.record)) continue;
      if (!options_.all && unit.record.kind == CacheRecord::Kind::kStep &&
          is_pinned(stock_.actions[unit.number]))
        continue;  // would free nothing
      release(unit);
    }
  }

  Collected result() const {
    Collected result;
    result.records = chosen_;
    result.bytes = freed_;
    result.total_before = total_;
    for (const auto& [id, layer] : stock_.layers)
      if (layer.is_busy) result.held_bytes += stock_.bytes_of(layer);
    return result;
  }

  void sweep() {
    forget_rows();
    std::vector<StoredThing*> things;
    for (auto& [id, layer] : stock_.layers) things.push_back(&layer);
    take_away(things);
    things.clear();
    take_bodies();
    for (StoredBlob& blob : stock_.blobs) things.push_back(&blob);
    for (StoredContent& content : stock_.contents) things.push_back(&content);
    for (StoredPlace& place : stock_.places) things.push_back(&place);
    take_away(things);
    freed_ = taken_;
  }

  uint64_t left() const { return total_ - std::min(total_, freed_); }

 private:
  struct Unit {
    CacheRecord record;
    size_t number = 0;  // in the list of its kind
  };

  bool is_enough() const {
    if (options_.max_bytes && total_ - std::min(total_, freed_) > options_.max_bytes) return false;
    return !options_.min_free_bytes || free_ + freed_ >= options_.min_free_bytes;
  }

  bool is_pinned(const StoredAction& action) const {
    auto layer = stock_.layers.find(action.layer);
    return layer != stock_.layers.end() && layer->second.pins > 0;
  }

  // By last use; of those used at the same time what is made again soonest goes first.
  std::vector<Unit> units() {
    std::vector<Unit> list;
    for (size_t i = 0; i < stock_.actions.size(); i++) {
      const StoredAction& action = stock_.actions[i];
      if (action.goes) continue;
      Unit unit{.record = {}, .number = i};
      CacheRecord& r = unit.record;
      r.kind = CacheRecord::Kind::kStep;
      r.id = action.key.hex();
      r.description = description_of(action, r.type);
      r.created = action.created;
      r.used = action.used;
      if (auto layer = stock_.layers.find(action.layer); layer != stock_.layers.end()) {
        r.bytes = stock_.bytes_of(layer->second);
        r.in_use = layer->second.is_busy;
        r.shared = layer->second.pins > 0 || layer->second.actions > 1;
        r.parent = action.layer.hex();
      }
      list.push_back(std::move(unit));
    }
    for (size_t i = 0; i < stock_.bodies.size(); i++) {
      const StoredBody& body = stock_.bodies[i];
      auto layer = stock_.layers.find(body.layer);
      if (layer == stock_.layers.end()) continue;
      Unit unit{.record = {}, .number = i};
      CacheRecord& r = unit.record;
      r.kind = CacheRecord::Kind::kDirectory;
      r.type = "directory";
      r.id = body.name;
      r.description = "directory of layer " + body.layer.short_hex();
      r.created = r.used = body.used;
      r.bytes = body.bytes;
      r.in_use = layer->second.is_busy;
      r.parent = body.layer.hex();
      list.push_back(std::move(unit));
    }
    for (size_t i = 0; i < stock_.blobs.size(); i++) {
      const StoredBlob& blob = stock_.blobs[i];
      if (blob.is_root || blob.came_so || blob.layers.empty()) continue;
      Unit unit{.record = {}, .number = i};
      CacheRecord& r = unit.record;
      r.kind = CacheRecord::Kind::kBlob;
      r.type = "blob";
      r.id = blob.digest.hex();
      r.parent = blob.layers.begin()->hex();
      r.description = fmt::format("{} of layer {}", blob.format, blob.layers.begin()->short_hex());
      r.created = r.used = blob.used;
      r.bytes = blob.bytes;
      r.in_use = blob.is_held;
      list.push_back(std::move(unit));
    }
    for (size_t i = 0; i < stock_.places.size(); i++) {
      const StoredPlace& place = stock_.places[i];
      Unit unit{.record = {}, .number = i};
      CacheRecord& r = unit.record;
      r.kind = place.is_mount ? CacheRecord::Kind::kMount : CacheRecord::Kind::kGit;
      r.type = place.is_mount ? "exec.cachemount" : "source.git.checkout";
      r.id = place.id;
      r.description = place.is_mount ? place.name : "copy of a repository";
      r.created = place.created;
      r.used = place.used;
      r.bytes = place.bytes;
      r.in_use = place.is_busy;
      r.sharing = place.sharing;
      r.owner = place.owner;
      r.path = place.path + (place.is_mount ? "/data" : "/repo");
      list.push_back(std::move(unit));
    }
    for (size_t i = 0; i < stock_.images.size(); i++) {
      const StoredImage& image = stock_.images[i];
      if (image.has_name || image.goes) continue;
      Unit unit{.record = {}, .number = i};
      CacheRecord& r = unit.record;
      r.kind = CacheRecord::Kind::kImage;
      r.type = "image";
      r.id = image.id.hex();
      r.description = "image without a name";
      r.created = r.used = image.added;
      r.in_use = stock_.leases.names(Held::kBlob, image.id);
      for (const LayerRef& ref : image.layers) {
        auto layer = stock_.layers.find(ref.id);
        if (layer == stock_.layers.end()) continue;
        r.bytes += stock_.bytes_of(layer->second);
        // A container stands on it; or it shares layers with one, and waits until that is gone.
        r.in_use |= layer->second.is_busy;
        r.shared |= layer->second.pins > 1 || layer->second.actions > 0;
      }
      list.push_back(std::move(unit));
    }
    auto order = [](const Unit& unit) {
      switch (unit.record.kind) {
        case CacheRecord::Kind::kBlob:
          return 0;
        case CacheRecord::Kind::kDirectory:
          return 1;
        case CacheRecord::Kind::kGit:
          return 2;
        case CacheRecord::Kind::kImage:
          return 3;
        case CacheRecord::Kind::kStep:
          return 4;
        case CacheRecord::Kind::kMount:
          break;
      }
      return 5;
    };
    std::stable_sort(list.begin(), list.end(), [&](const Unit& a, const Unit& b) {
      return std::pair(a.record.used, order(a)) < std::pair(b.record.used, order(b));
    });
    return list;
  }

  // What nothing leads to, and nobody holds. Also counts what leads to each content.
  void release_orphans() {
    for (auto& [id, layer] : stock_.layers) {
      layer.stays = true;
      for (uint32_t number : layer.contents) stock_.contents[number].layers++;
    }
    std::set<std::string> names;
    for (const StoredBody& body : stock_.bodies) names.insert(body.name);
    for (StoredBody& body : stock_.bodies) {
      // A delta whose ground is gone is made again, as whatever is right then.
      bool has_ground = body.on.empty() || names.contains(body.on) || names.contains(body.on + ".delta");
      body.stays =
          (stock_.layers.contains(body.layer) && has_ground) || stock_.leases.names(Held::kLayer, body.layer);
      if (!body.stays) freed_ += body.bytes;
    }
    for (StoredBlob& blob : stock_.blobs) {
      blob.stays = blob.is_root || blob.is_held || !blob.layers.empty();
      if (!blob.stays) freed_ += blob.bytes;
    }
    for (StoredPlace& place : stock_.places) place.stays = true;
    for (auto& [id, layer] : stock_.layers) drop_if_unused(layer);
    for (StoredContent& content : stock_.contents) {
      content.stays = content.is_held || content.layers > 0;
      if (!content.stays && !content.is_counted) count(content);
    }
    for (StoredImage& image : stock_.images)
      if (image.goes) drop_config(image);
  }

  void count(StoredContent& content) {
    content.is_counted = true;
    freed_ += content.bytes;
  }

  void drop_if_unused(StoredLayer& layer) {
    if (!layer.stays || layer.pins > 0 || layer.actions > 0) return;
    layer.stays = false;
    freed_ += layer.bytes;
    for (size_t number : layer.bodies) release_thing(stock_.bodies[number]);
    for (size_t number : layer.blobs) {
      StoredBlob& blob = stock_.blobs[number];
      bool is_needed = blob.is_root || blob.is_held ||
                       std::any_of(blob.layers.begin(), blob.layers.end(),
                                   [&](const Digest& other) { return stock_.layers.at(other).stays; });
      if (!is_needed) release_thing(blob);
    }
    for (uint32_t number : layer.contents) {
      StoredContent& content = stock_.contents[number];
      if (--content.layers > 0 || content.is_held) continue;
      content.stays = false;
      count(content);
    }
  }

  void release_thing(StoredThing& thing) {
    if (!thing.stays) return;
    thing.stays = false;
    freed_ += thing.bytes;
  }

  void release_image(StoredImage& image) {
    if (image.goes || stock_.leases.names(Held::kBlob, image.id)) return;
    image.goes = true;
    for (const LayerRef& ref : image.layers)
      if (auto layer = stock_.layers.find(ref.id); layer != stock_.layers.end()) layer->second.pins--;
  }

  void drop_config(const StoredImage& image) {
    for (StoredBlob& blob : stock_.blobs)
      if (blob.digest == image.id && !blob.is_held) release_thing(blob);
  }

  void release(const Unit& unit) {
    switch (unit.record.kind) {
      case CacheRecord::Kind::kStep: {
        StoredAction& action = stock_.actions[unit.number];
        action.goes = true;
        auto layer = stock_.layers.find(action.layer);
        if (layer == stock_.layers.end()) break;
        layer->second.actions--;
        drop_if_unused(layer->second);
        break;
      }
      case CacheRecord::Kind::kDirectory:
        release_thing(stock_.bodies[unit.number]);
        break;
      case CacheRecord::Kind::kBlob:
        release_thing(stock_.blobs[unit.number]);
        break;
      case CacheRecord::Kind::kMount:
      case CacheRecord::Kind::kGit:
        release_thing(stock_.places[unit.number]);
        break;
      case CacheRecord::Kind::kImage: {
        StoredImage& image = stock_.images[unit.number];
        release_image(image);
        drop_config(image);
        for (const LayerRef& ref : image.layers)
          if (auto layer = stock_.layers.find(ref.id); layer != stock_.layers.end())
            drop_if_unused(layer->second);
        break;
      }
    }
    chosen_.push_back(unit.record);
  }

  // Somebody holds it by now: it stays, with all that it leads to.
  void keep(StoredLayer& layer) {
    layer.stays = layer.is_busy = true;
    for (uint32_t number : layer.contents) stock_.contents[number].stays = true;
    for (size_t number : layer.bodies) stock_.bodies[number].stays = true;
    for (size_t number : layer.blobs) stock_.blobs[number].stays = true;
  }

  void keep(StoredImage& image) {
    image.goes = false;
    for (const LayerRef& ref : image.layers)
      if (auto layer = stock_.layers.find(ref.id); layer != stock_.layers.end()) keep(layer->second);
  }

  // With the gate closed: what was held since the last look.
  void look_again() {
    for (const auto& [kind, digest] : stock_.leases.read()) {
      switch (kind) {
        case Held::kLayer:
          if (auto layer = stock_.layers.find(digest); layer != stock_.layers.end()) keep(layer->second);
          for (StoredBody& body : stock_.bodies)
            if (body.layer == digest) body.stays = true;
          break;
        case Held::kContent:
          if (auto at = stock_.content_numbers.find(digest); at != stock_.content_numbers.end())
            stock_.contents[at->second].stays = true;
          break;
        case Held::kBlob:
          for (StoredBlob& blob : stock_.blobs)
            if (blob.digest == digest) blob.stays = true;
          for (StoredImage& image : stock_.images)
            if (image.id == digest && image.goes) keep(image);
          break;
        case Held::kMount:
        case Held::kGit:
          for (StoredPlace& place : stock_.places)
            if (place.is_mount == (kind == Held::kMount) && digest.hex().starts_with(place.id))
              place.stays = true;
          break;
      }
    }
  }

  // The rows go first. An image's are on disk before anything of it goes; when the index cannot be written (a
  // full disk), images stay, and the rest goes without: what a row says is believed only with its files.
  // The gate opens after the end of the transaction, so that nobody holds what an old index showed.
  void forget_rows() {
    std::optional<ClosedGate> gate;
    bool has_images = std::any_of(stock_.images.begin(), stock_.images.end(),
                                  [](const StoredImage& image) { return image.goes; });
    auto work = [&] {
      gate.emplace(store_.path());
      look_again();
      delete_rows();
    };
    try {
      if (has_images)
        store_.database().durable_transaction(work);
      else
        store_.database().transaction(work);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNoSpace) throw;
      for (StoredImage& image : stock_.images)
        if (image.goes) keep(image);
    }
  }

  void delete_rows() {
    Database& database = store_.database();
    for (const StoredImage& image : stock_.images) {
      if (!image.goes) continue;
      database.prepare("DELETE FROM tags WHERE image=?").bind(image.id).run();
      database.prepare("DELETE FROM images WHERE id=?").bind(image.id).run();
    }
    for (const StoredAction& action : stock_.actions) {
      auto layer = stock_.layers.find(action.layer);
      bool is_there = layer != stock_.layers.end();
      bool is_lost = !is_there && !stock_.leases.names(Held::kLayer, action.layer);
      if (!is_lost && !(action.goes && !(is_there && layer->second.is_busy))) continue;
      // Not one that was made or used again meanwhile.
      database.prepare("DELETE FROM actions WHERE key=? AND layer=? AND used<=?")
          .bind(action.key)
          .bind(action.layer)
          .bind(action.used)
          .run();
    }
    for (const auto& [id, layer] : stock_.layers) {
      if (layer.stays) continue;
      for (const char* table : {"layers WHERE id", "bodies WHERE layer", "diffs WHERE layer",
                                "predecessors WHERE layer", "lineages WHERE layer", "absent WHERE layer"})
        database.prepare(fmt::format("DELETE FROM {}=?", table)).bind(id).run();
    }
    database.execute("DELETE FROM blobs WHERE diff_id NOT IN (SELECT diff_id FROM diffs)");
    for (const StoredPlace& place : stock_.places)
      if (!place.stays && place.is_mount)
        database.prepare("DELETE FROM cache_mounts WHERE id=?").bind(place.id).run();
  }

  void take_away(std::vector<StoredThing*>& things) {
    std::erase_if(things, [](const StoredThing* thing) { return thing->stays; });
    for (size_t at = 0; at < things.size(); at += kPortion) {
      std::optional<TempDir> trash = open_trash();  // emptied when the gate is open again
      ClosedGate gate(store_.path());
      look_again();
      for (size_t i = at; i < std::min(things.size(), at + kPortion); i++)
        if (!things[i]->stays) move_away(*things[i], trash);
    }
  }

  // Contents that live in a body and stay get a file of their own first: no byte is written.
  void take_bodies() {
    for (StoredBody& body : stock_.bodies) {
      if (body.stays) continue;
      std::optional<TempDir> trash = open_trash();
      ClosedGate gate(store_.path());
      look_again();
      if (body.stays) continue;
      for (uint32_t number : body.homes)
        if (const StoredContent& content = stock_.contents[number]; content.stays)
          store_.contents().leave_home(content.digest, body.path);
      move_away(body, trash);
    }
  }

  // Before the gate is closed: a thread of ours that waits at the gate has our lease, which this needs.
  // Nothing where there is no room for a name.
  std::optional<TempDir> open_trash() {
    try {
      return store_.temporary("trash");
    } catch (const Error&) {
      return std::nullopt;
    }
  }

  // Without trash it is removed at once.
  void move_away(const StoredThing& thing, const std::optional<TempDir>& trash) {
    if (trash) {
      std::string to = *trash / std::to_string(trash_number_++);
      if (rename(thing.path.c_str(), to.c_str()) == 0) {
        taken_ += thing.bytes;
        return;
      }
      if (errno == ENOENT) return;
    }
    try {
      // Out of its name first: what is half gone must not be found.
      std::string going = store_.path() + "/dirs/" + kGoing;
      remove_tree(going);
      remove_tree(rename(thing.path.c_str(), going.c_str()) == 0 ? going : thing.path);
      taken_ += thing.bytes;
    } catch (const Error&) {
      // It belongs to ids that we do not have here: it stays, and is found by the next.
    }
  }

  Store& store_;
  Stock& stock_;
  const CollectOptions& options_;
  std::vector<CacheRecord> chosen_;
  uint64_t total_ = 0, free_ = 0, freed_ = 0, taken_ = 0;
  size_t trash_number_ = 0;
};

}  // namespace

Collector::Collector(Store& store) : store_(store) {}

Collected Collector::collect(const CollectOptions& options) {
  FileLock alone = FileLock::exclusive(collector_lock_path(store_.path()));
  Stock stock = Stock::take(store_);
  Collection collection(store_, stock, options);
  collection.choose();
  Collected result = collection.result();
  if (options.only_plan) return result;
  collection.sweep();
  result.bytes = collection.result().bytes;
  store_.set_known_bytes(collection.left());
  return result;
}

std::vector<CacheRecord> Collector::records() {
  FileLock alone = FileLock::exclusive(collector_lock_path(store_.path()));
  Stock stock = Stock::take(store_);
  CollectOptions options;
  return Collection(store_, stock, options).all_records();
}

}  // namespace corten::store
