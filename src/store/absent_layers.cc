// Layers that are known, and not here.
//
// A cache that came from elsewhere says what a step gave: the layer's manifest, and where its bytes lie. Most
// steps of a build need no more of the layers below them, so the bytes stay where they are until somebody
// asks for a file. Then they are fetched, and the layer is like any other; or they cannot be, and it never
// was.
//
// The rows of `absent` say which layers these are. A layer is whole from the moment its rows go, in the
// transaction that also makes it one that a crash of the machine may have damaged (layers.boot). Its diff ids
// are a cache's word until then: they stay when the tar was read and is what they say, else they are made
// anew.
#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "base/trace.h"
#include "store/layers.h"
#include "store/store.h"

namespace corten::store {

namespace {

constexpr unsigned kFetchesAtOnce = 4;

// A stack whose files can be asked for.
class SuppliedView : public RootfsView {
 public:
  SuppliedView(Layers& layers, const Rootfs& rootfs, std::vector<std::shared_ptr<const Manifest>> manifests)
      : RootfsView(manifests), layers_(layers) {
    for (size_t i = 0; i < rootfs.size(); i++)
      if (!manifests[i]->entries().empty() && !layers.is_whole(rootfs[i].id))
        absent_.push_back({rootfs[i].id, manifests[i]});
  }

  // An entry lies in the manifest that it is a part of.
  void ingest(std::span<const Entry* const> files, const Manifest*) const override {
    parallel_for(absent_.size(), kFetchesAtOnce, [&](size_t i) {
      const auto& [id, manifest] = absent_[i];
      const Entry* first = &manifest->entries().front();
      const Entry* last = &manifest->entries().back();
      std::vector<const Entry*> here;
      for (const Entry* file : files)
        if (!std::less<>()(file, first) && !std::less<>()(last, file)) here.push_back(file);
      if (!here.empty()) layers_.need_files(id, here);
    });
  }

 private:
  Layers& layers_;
  std::vector<std::pair<Digest, std::shared_ptr<const Manifest>>> absent_;
};

}  // namespace

Digest Layers::save_absent(Manifest manifest, const std::vector<LayerPlace>& places) {
  std::string bytes = manifest.serialize();
  Digest id = Digest::of(bytes);
  write_manifest(id, bytes);
  database_.transaction([&] {
    if (has(id) && is_whole(id)) return;
    note_layer(id, manifest);
    auto add = [&](const LayerPlace& place) {
      database_.prepare("INSERT OR REPLACE INTO absent(layer,place,media_type,blob,size) VALUES(?,?,?,?,?)")
          .bind(id)
          .bind(place.place)
          .bind(place.media_type)
          .bind(place.blob)
          .bind(static_cast<int64_t>(place.size))
          .run();
    };
    add({});
    for (const LayerPlace& place : places) add(place);
  });
  std::lock_guard lock(mutex_);
  loaded_.emplace(id, std::make_shared<const Manifest>(std::move(manifest)));
  return id;
}

bool Layers::is_whole(const Digest& id) {
  Statement row = database_.prepare(
      "SELECT 1 FROM layers WHERE id=?1 AND NOT EXISTS (SELECT 1 FROM absent WHERE layer=?1)");
  row.bind(id);
  return row.step();
}

bool Layers::is_absent(const Digest& id) {
  Statement row = database_.prepare("SELECT 1 FROM absent WHERE layer=? LIMIT 1");
  row.bind(id);
  return row.step();
}

std::vector<LayerPlace> Layers::places(const Digest& id) {
  std::vector<LayerPlace> found;
  Statement row =
      database_.prepare("SELECT place, media_type, blob, size FROM absent WHERE layer=? AND place<>''");
  row.bind(id);
  while (row.step())
    found.push_back({row.text(0), row.text(1), row.digest(2), static_cast<uint64_t>(row.integer(3))});
  return found;
}

void Layers::now_whole(const Digest& id, bool keeps_diffs) {
  if (!is_absent(id)) return;
  if (!keeps_diffs) forget_said_diffs(id);
  database_.prepare("DELETE FROM absent WHERE layer=?").bind(id).run();
  database_.prepare("UPDATE layers SET boot=? WHERE id=?").bind(boot_id()).bind(id).run();
}

// Those of time 0 are an image's, and proved with the blob that the layer came as.
void Layers::forget_said_diffs(const Digest& id) {
  database_.prepare("DELETE FROM diffs WHERE layer=? AND time<>0").bind(id).run();
}

bool Layers::confirm_diff(const Digest& id, const DiffId& read) {
  bool is_right = false;
  database_.transaction([&] {
    Statement known = database_.prepare("SELECT count(*), sum(diff_id=?2) FROM diffs WHERE layer=?1");
    known.bind(id).bind(read.digest);
    is_right = !known.step() || known.integer(0) == 0 || known.integer(1) > 0;
    if (is_right)
      database_.prepare("DELETE FROM diffs WHERE layer=? AND time<>0 AND diff_id<>?")
          .bind(id)
          .bind(read.digest)
          .run();
  });
  return is_right;
}

void Layers::need(const Rootfs& rootfs) {
  std::vector<Digest> ids;
  for (const LayerRef& layer : rootfs) ids.push_back(layer.id);
  need(ids);
}

void Layers::need(const std::vector<Digest>& ids) {
  std::vector<Digest> absent;
  for (const Digest& id : ids)
    if (!is_whole(id) && std::find(absent.begin(), absent.end(), id) == absent.end()) absent.push_back(id);
  if (absent.empty()) return;
  parallel_for(absent.size(), kFetchesAtOnce, [&](size_t i) { fetch(absent[i]); });
}

void Layers::need_files(const Digest& id, const std::vector<const Entry*>& files) {
  constexpr uint64_t kWorthIt = 4;  // so many times must the whole be more
  if (is_whole(id)) return;
  auto manifest = load(id);
  std::vector<const Entry*> missing;
  uint64_t bytes = 0;
  for (const Entry* file : files) {
    const Entry* first = file->is_hard_link() ? manifest->find(file->hard_link) : file;
    if (!first || first->type != EntryType::kFile || first->size == 0 || contents_.has(first->content))
      continue;
    missing.push_back(first);
    bytes += first->size;
  }
  if (missing.empty()) return;
  auto has_all = [&] {
    return std::all_of(missing.begin(), missing.end(),
                       [&](const Entry* file) { return contents_.has(file->content); });
  };
  if (file_supply_ && bytes * kWorthIt < manifest->content_bytes() && file_supply_(id, *manifest, missing) &&
      has_all())
    return;
  need({id});
}

void Layers::need_for(const Rootfs& rootfs, const std::vector<RootfsPath>& paths) {
  const RootfsView stack = view(rootfs);
  for (const RootfsPath& path : paths) {
    const RootfsPath file = resolve_links(stack, path);
    for (auto layer = rootfs.rbegin(); layer != rootfs.rend(); ++layer) {
      const Entry* entry = load(layer->id)->find(file);
      if (!entry) continue;
      need_files(layer->id, {entry});
      break;
    }
  }
}

std::shared_ptr<const Tree> Layers::tree(const Rootfs& rootfs) {
  std::vector<std::shared_ptr<const Manifest>> manifests;
  for (const LayerRef& layer : rootfs) manifests.push_back(load(layer.id));
  return std::make_shared<SuppliedView>(*this, rootfs, std::move(manifests));
}

// Of several threads that want one layer one fetches it.
void Layers::fetch(const Digest& id) {
  {
    std::unique_lock lock(mutex_);
    fetched_.wait(lock, [&] { return !fetching_.contains(id); });
    fetching_.insert(id);
  }
  struct Done {
    Layers& layers;
    const Digest& id;
    ~Done() {
      std::lock_guard lock(layers.mutex_);
      layers.fetching_.erase(id);
      layers.fetched_.notify_all();
    }
  } done{*this, id};
  if (is_whole(id)) return;
  TraceSpan span("fetch a layer");
  auto manifest = load(id);
  std::vector<Digest> contents;
  for (const Entry& e : manifest->entries())
    if (e.type == EntryType::kFile && e.size > 0 && !e.is_hard_link()) contents.push_back(e.content);
  contents_.hold(contents);
  auto is_missing = [&](const Digest& content) { return !contents_.has(content); };
  std::string why = "no place is known that has it";
  bool is_read = false, is_wrong = false;
  if (std::any_of(contents.begin(), contents.end(), is_missing)) {
    const std::vector<LayerPlace> known = places(id);
    try {
      if (!known.empty() && supply_) {
        supply_(id, *manifest, known);
        is_read = true;
      }
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kCancelled || error.code() == ErrorCode::kNoSpace) throw;
      is_wrong = error.code() == ErrorCode::kCorrupt;
      why = error.what();
    }
  }
  if (is_wrong || std::any_of(contents.begin(), contents.end(), is_missing)) {
    forget(id);
    fail(ErrorCode::kLost, "layer {}: {}", id.short_hex(), why);
  }
  // Another process that could not have it may have forgotten it meanwhile.
  save(Manifest(*manifest), is_read);
}

// Its manifest stays on disk, where the collector finds it; nothing leads to it any more.
void Layers::forget(const Digest& id) {
  database_.transaction([&] {
    if (is_whole(id)) return;  // somebody made it meanwhile
    for (const char* rows : {"actions WHERE layer", "absent WHERE layer", "layers WHERE id"})
      database_.prepare(fmt::format("DELETE FROM {}=?", rows)).bind(id).run();
    forget_said_diffs(id);
  });
  std::lock_guard lock(mutex_);
  loaded_.erase(id);
}

}  // namespace corten::store
