#include "store/layers.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/temp_dir.h"
#include "base/trace.h"
#include "store/directory_body.h"
#include "store/shelves.h"
#include "store/store.h"

namespace corten::store {

Layers::Layers(std::string root, Database& database, Contents& contents, Lease& lease)
    : root_(std::move(root)), database_(database), contents_(contents), lease_(lease) {}

std::string Layers::manifest_path(const Digest& id) const {
  std::string hex = id.hex();
  return root_ + "/layers/" + hex.substr(0, 2) + "/" + hex;
}

void Layers::write_manifest(const Digest& id, std::string_view bytes) {
  std::string path = manifest_path(id);
  lease_.hold(Held::kLayer, id);
  if (path_exists(path)) return;
  make_directories_on_host(HostPath{path}.parent(), 0700);
  TempDir place = TempDir::make(lease_.temporary(), "layer-");
  UniqueFd file = open_file(place / "manifest", O_WRONLY | O_CREAT | O_EXCL, 0600);
  write_fully(file.get(), bytes, path);
  file.close_checked(path);
  if (rename((place / "manifest").c_str(), path.c_str()) != 0) fail_errno("store layer {}", id.hex());
}

// Until make_durable() has synced it, the row holds the boot in which it was written: after a crash of the
// machine the file may be there without its bytes.
void Layers::note_layer(const Digest& id, const Manifest& manifest) {
  database_
      .prepare(
          "INSERT INTO layers(id,entries,bytes,boot,used) VALUES(?,?,?,?,?) ON CONFLICT(id) DO UPDATE SET "
          "boot=CASE WHEN boot IS NULL THEN NULL ELSE excluded.boot END, used=excluded.used")
      .bind(id)
      .bind(static_cast<int64_t>(manifest.entries().size()))
      .bind(static_cast<int64_t>(manifest.content_bytes()))
      .bind(boot_id())
      .bind(static_cast<int64_t>(time(nullptr)))
      .run();
}

Digest Layers::save(Manifest manifest) {
  return save(std::move(manifest), false);
}

Digest Layers::save(Manifest manifest, bool keeps_diffs) {
  TraceSpan span("write a layer's manifest");
  std::string bytes = manifest.serialize();
  Digest id = Digest::of(bytes);
  write_manifest(id, bytes);
  database_.transaction([&] {
    note_layer(id, manifest);
    now_whole(id, keeps_diffs);
  });
  std::lock_guard lock(mutex_);
  loaded_.emplace(id, std::make_shared<const Manifest>(std::move(manifest)));
  return id;
}

bool Layers::has(const Digest& id) {
  {
    std::lock_guard lock(mutex_);
    if (loaded_.contains(id)) return true;
  }
  lease_.hold(Held::kLayer, id);
  Statement row = database_.prepare("SELECT boot FROM layers WHERE id=?");
  row.bind(id);
  if (!row.step()) return false;
  if (!row.is_null(0) && row.text(0) != boot_id()) return false;
  return path_exists(manifest_path(id));
}

std::shared_ptr<const Manifest> Layers::load(const Digest& id) {
  {
    std::lock_guard lock(mutex_);
    if (auto found = loaded_.find(id); found != loaded_.end()) return found->second;
  }
  lease_.hold(Held::kLayer, id);
  TraceSpan span("read a layer's manifest");
  std::string bytes;
  try {
    bytes = read_file(manifest_path(id));
  } catch (Error& error) {
    if (error.code() != ErrorCode::kNotFound) throw;
    throw Error(ErrorCode::kCorrupt,
                fmt::format("layer {} is not in the store: {}", id.short_hex(), error.what()))
        .with_hint("run 'corten fsck --repair', then build again");
  }
  if (Digest::of(bytes) != id)
    throw Error(ErrorCode::kCorrupt, fmt::format("layer {}: its manifest is damaged", id.short_hex()))
        .with_hint("run 'corten fsck --repair', then build again");
  auto manifest = std::make_shared<const Manifest>(Manifest::parse(bytes));
  std::lock_guard lock(mutex_);
  return loaded_.emplace(id, manifest).first->second;
}

RootfsView Layers::view(const Rootfs& rootfs) {
  std::vector<std::shared_ptr<const Manifest>> manifests;
  for (const LayerRef& layer : rootfs) manifests.push_back(load(layer.id));
  return RootfsView(std::move(manifests));
}

std::string Layers::directory_path(const LayerRef& layer, const std::string& mapping) const {
  std::string hex = layer.id.hex();
  std::string name = fmt::format("{}-{}", hex, layer.time);
  if (mapping != "root") name += "-" + Digest::of(mapping).short_hex();
  return root_ + "/dirs/" + hex.substr(0, 2) + "/" + name;
}

HostPath Layers::directory(const LayerRef& layer, const Owners& owners) {
  std::string path = directory_path(layer, owners.mapping);
  lease_.hold(Held::kLayer, layer.id);
  {
    std::lock_guard lock(mutex_);
    used_bodies_.emplace(layer.id, layer.time, owners.mapping);
  }
  if (path_exists(path)) return {path};
  need({layer.id});
  TraceSpan span("make a layer's directory");
  auto manifest = load(layer.id);
  TempDir place = TempDir::make(lease_.temporary(), "body-");
  std::vector<const Entry*> linked = make_directory_body(*manifest, layer.time, contents_, place / "root",
                                                         {.may_link = true, .owners = owners});
  if (place_body(layer, owners, place / "root"))
    for (const Entry* e : linked) contents_.set_home(e->content, path + "/" + e->path.str());
  return {path};
}

// False: another process was faster, and what it made is as good.
bool Layers::place_body(const LayerRef& layer, const Owners& owners, const std::string& made) {
  std::string path = directory_path(layer, owners.mapping);
  lease_.hold(Held::kLayer, layer.id);
  make_directories_on_host(HostPath{path}.parent(), 0700);
  bool is_placed = rename_if_free(made, path);
  note_body(layer, owners);
  return is_placed;
}

void Layers::note_body(const LayerRef& layer, const Owners& owners) {
  database_.prepare("INSERT OR REPLACE INTO bodies(layer,time,mapping,used) VALUES(?,?,?,?)")
      .bind(layer.id)
      .bind(layer.time)
      .bind(owners.mapping)
      .bind(static_cast<int64_t>(time(nullptr)))
      .run();
}

LayerRef Layers::adopt(const Manifest& manifest, int64_t time, const Owners& owners, const HostPath& upper) {
  LayerRef layer{manifest.id(), time};
  bool is_placed = place_body(layer, owners, upper.value);
  std::string path = directory_path(layer, owners.mapping);
  for (const Entry& e : manifest.entries()) {
    if (e.type != EntryType::kFile || e.is_hard_link() || contents_.has(e.content)) continue;
    if (is_placed) {
      contents_.set_home(e.content, path + "/" + e.path.str());
      continue;
    }
    // The directory that was there is somebody else's work: what this step wrote is what counts.
    UniqueFd file = open_file(upper.value + "/" + e.path.str(), O_RDONLY | O_NOFOLLOW);
    if (contents_.add_file(file.get(), e.path.absolute()).digest != e.content)
      fail(ErrorCode::kCorrupt, "{}: changed while it was stored", e.path.absolute());
  }
  save(manifest);
  return layer;
}

void Layers::remove_body(const std::string& path, const Contents::Homes& homes) {
  if (auto here = homes.find(HostPath{path}.filename()); here != homes.end())
    for (const Digest& content : here->second) contents_.leave_home(content, path);
  // Out of its name first: a kill in the middle leaves no directory with holes that a step would stand on.
  std::string going = root_ + "/dirs/" + kGoing;
  remove_tree(going);
  if (rename(path.c_str(), going.c_str()) != 0) fail_errno("remove directory {}", path);
  remove_tree(going);
}

bool Layers::has_uses() {
  std::lock_guard lock(mutex_);
  return !used_bodies_.empty();
}

void Layers::save_uses(int64_t now) {
  std::set<std::tuple<Digest, int64_t, std::string>> used;
  {
    std::lock_guard lock(mutex_);
    used.swap(used_bodies_);
  }
  for (const auto& [layer, time, mapping] : used)
    database_.prepare("UPDATE bodies SET used=? WHERE layer=? AND time=? AND mapping=?")
        .bind(now)
        .bind(layer)
        .bind(time)
        .bind(mapping)
        .run();
}

std::optional<LayerDiff> Layers::find_diff(const LayerRef& layer) {
  Statement row = database_.prepare("SELECT diff_id, tar_bytes FROM diffs WHERE layer=? AND time=?");
  row.bind(layer.id).bind(layer.time);
  if (!row.step()) return std::nullopt;
  return LayerDiff{{row.digest(0)}, static_cast<uint64_t>(row.integer(1))};
}

// Who knows less than what is there takes nothing away.
void Layers::remember_diff(const LayerRef& layer, const LayerDiff& diff, std::string_view checkpoints) {
  database_
      .prepare(
          "INSERT INTO diffs(layer,time,diff_id,tar_bytes,checkpoints) VALUES(?,?,?,?,?) ON "
          "CONFLICT(layer,time) "
          "DO UPDATE SET diff_id=excluded.diff_id, tar_bytes=excluded.tar_bytes, "
          "checkpoints=coalesce(nullif(excluded.checkpoints,''), checkpoints)")
      .bind(layer.id)
      .bind(layer.time)
      .bind(diff.diff_id.digest)
      .bind(static_cast<int64_t>(diff.tar_bytes))
      .bind(checkpoints)
      .run();
}

std::string Layers::find_checkpoints(const LayerRef& layer) {
  Statement row = database_.prepare("SELECT checkpoints FROM diffs WHERE layer=? AND time=?");
  row.bind(layer.id).bind(layer.time);
  return row.step() ? row.text(0) : "";
}

std::vector<LayerRef> Layers::find_layers(const DiffId& diff_id) {
  std::vector<LayerRef> found;
  Statement row = database_.prepare("SELECT layer, time FROM diffs WHERE diff_id=?");
  row.bind(diff_id.digest);
  while (row.step()) found.push_back({row.digest(0), row.integer(1)});
  return found;
}

std::optional<LayerBlob> Layers::find_blob(const DiffId& diff_id, std::string_view format) {
  Statement row = database_.prepare("SELECT digest, size FROM blobs WHERE diff_id=? AND format=?");
  row.bind(diff_id.digest).bind(format);
  if (!row.step()) return std::nullopt;
  return LayerBlob{row.digest(0), static_cast<uint64_t>(row.integer(1))};
}

void Layers::remember_blob(const DiffId& diff_id, std::string_view format, const LayerBlob& blob,
                           std::string_view recipe) {
  database_
      .prepare("INSERT OR REPLACE INTO blobs(diff_id,format,digest,size,recipe,used) VALUES(?,?,?,?,?,?)")
      .bind(diff_id.digest)
      .bind(format)
      .bind(blob.digest)
      .bind(static_cast<int64_t>(blob.size))
      .bind(recipe)
      .bind(static_cast<int64_t>(time(nullptr)))
      .run();
}

std::string Layers::find_recipe(const DiffId& diff_id, std::string_view format) {
  Statement row = database_.prepare("SELECT recipe FROM blobs WHERE diff_id=? AND format=?");
  row.bind(diff_id.digest).bind(format);
  return row.step() ? row.text(0) : "";
}

}  // namespace corten::store
