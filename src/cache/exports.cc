#include "cache/exports.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/trace.h"
#include "base/unique_fd.h"
#include "cache/mount_pack.h"

namespace corten::cache {

namespace {

constexpr int kTries = 6;  // of writers that meet
constexpr int64_t kDaySeconds = 86'400;

// A file, read from an offset on, until there is no time left for it.
class TimedFile : public archive::ByteSource {
 public:
  TimedFile(const std::string& path, uint64_t offset, const std::atomic<bool>& is_late)
      : fd_(open_file(path, O_RDONLY)), from_(fd_.get(), path), is_late_(is_late) {
    if (lseek(fd_.get(), static_cast<off_t>(offset), SEEK_SET) < 0) fail_errno("seek {}", path);
  }
  size_t read(void* data, size_t size) override {
    if (is_late_) fail(ErrorCode::kCancelled, "the time of the export is over");
    return from_.read(data, size);
  }

 private:
  UniqueFd fd_;
  archive::FdSource from_;
  const std::atomic<bool>& is_late_;
};

int64_t today() {
  return time(nullptr) / kDaySeconds;
}

}  // namespace

std::string summary_of(const Exported& exported) {
  std::string text = fmt::format("{} step{}, {} of this build; sent {} blob{}, {}", exported.entries,
                                 exported.entries == 1 ? "" : "s", exported.new_entries, exported.sent_blobs,
                                 exported.sent_blobs == 1 ? "" : "s", human_size(exported.sent_bytes));
  if (exported.dropped_bytes) text += fmt::format("; dropped {}", human_size(exported.dropped_bytes));
  if (exported.late) text += fmt::format("; no time for {} of them", exported.late);
  if (exported.is_contended) text += "; others wrote at the same time, so that some may be missing";
  return text + fmt::format("; {:.1f} s", static_cast<double>(exported.took_ns) / 1e9);
}

Export::Export(store::Store& store, std::shared_ptr<Place> place, ExportOptions options)
    : store_(store), place_(std::move(place)), options_(std::move(options)), pool_(options_.transfers) {
  index_ = std::async(std::launch::async, [this]() -> Index* {
             try {
               TraceSpan span("read the index of the cache to write");
               read_ = Index::read(*place_);
             } catch (const std::exception&) {
               return nullptr;  // finish() reads it again, and tells
             }
             return read_ ? &*read_ : nullptr;
           }).share();
}

Export::~Export() {
  is_late_ = true;
  if (index_.valid()) index_.wait();
}

Index* Export::before() {
  return index_.get();
}

void Export::failed(const std::exception_ptr& error) {
  std::lock_guard lock(mutex_);
  if (!error_) error_ = error;
}

void Export::add(const Digest& key, const std::string& step, const store::LayerRef& layer,
                 const std::vector<store::LayerRef>& forms, bool is_made) {
  Entry entry{.key = key, .step = step, .layer = layer, .manifest = {}, .blobs = {}, .used_day = today()};
  std::vector<store::LayerRef> wanted = forms;
  if (wanted.empty() && options_.is_max) wanted.push_back(layer);
  pool_.submit([this, entry = std::move(entry), wanted = std::move(wanted), is_made] {
    try {
      send_layer(entry, wanted, is_made);
    } catch (const std::exception&) {
      failed(std::current_exception());
    }
  });
}

void Export::add_base(const Digest& key, const store::LayerRef& layer, const LayerBlobRecord& record) {
  pool_.submit([this, key, layer, record] {
    try {
      Entry entry{
          .key = key, .step = "FROM", .layer = layer, .manifest = {}, .blobs = {record}, .used_day = today()};
      send_layer(entry, {}, false);
    } catch (const std::exception&) {
      failed(std::current_exception());
    }
  });
}

void Export::add_mount(const std::string& id) {
  std::lock_guard lock(mutex_);
  if (options_.has_mounts) mounts_.insert(id);
}

// What one thread puts, another waits for: the entry that names it must not be there before it.
void Export::put(const oci::Descriptor& blob,
                 const std::function<std::unique_ptr<archive::ByteSource>(uint64_t)>& open) {
  {
    Index* there = before();
    std::lock_guard lock(mutex_);
    if (there && there->names(blob.digest) && !gone_.contains(blob.digest)) return;
  }
  std::promise<void> promise;
  std::shared_future<void> others;
  {
    std::lock_guard lock(mutex_);
    auto [known, is_new] = putting_.try_emplace(blob.digest, promise.get_future().share());
    if (!is_new) others = known->second;
  }
  if (others.valid()) return others.get();
  try {
    if (!place_->has_blob(blob)) {
      place_->put_blob({blob, open});
      std::lock_guard lock(mutex_);
      result_.sent_blobs++;
      result_.sent_bytes += blob.size;
    }
    promise.set_value();
  } catch (...) {
    promise.set_exception(std::current_exception());
    throw;
  }
}

// Chunks that the state of before has are there already.
void Export::send_mount(const std::string& id) {
  TraceSpan span("export a cache mount");
  const std::string directory = store_.cache_mount_directory(id);
  FileLock lock;
  // Another build is writing to it, and will carry it away itself.
  if (!path_exists(directory + "/data") || !FileLock::try_exclusive(directory + "/lock", lock)) return;
  KnownChunks known;
  if (Index* index = before())
    if (auto state = index->mounts().find(id); state != index->mounts().end()) {
      try {
        known = known_chunks(parse_recipe(place_->read_blob(state->second.recipe, kMaxRecipeBytes)));
      } catch (const Error&) {
        known.clear();  // of a later version, or damaged: all of it is sent
      }
    }
  PackedMount packed =
      pack_mount(directory, {.owners = options_.owners,
                             .known = known,
                             .put =
                                 [&](const oci::Descriptor& chunk, const std::string& bytes) {
                                   if (is_late()) fail(ErrorCode::kCancelled, "no time is left");
                                   put_bytes(chunk, bytes);
                                 },
                             .cancellation = options_.cancellation});
  MountState state{.recipe = oci::describe(kRecipeMediaType, packed.recipe),
                   .chunks = std::move(packed.chunks),
                   .packed = time(nullptr)};
  put_bytes(state.recipe, packed.recipe);
  std::lock_guard lock_made(mutex_);
  made_.mounts.emplace(id, std::move(state));
}

void Export::put_bytes(const oci::Descriptor& blob, const std::string& bytes) {
  put(blob, [&bytes](uint64_t offset) {
    return std::make_unique<archive::StringSource>(std::string_view(bytes).substr(offset));
  });
}

bool Export::is_sound(const Entry& entry) {
  std::vector<oci::Descriptor> blobs{entry.manifest};
  for (const LayerBlobRecord& record : entry.blobs) {
    if (record.place.empty()) blobs.push_back(record.blob);
    if (record.chunks.size) blobs.push_back(record.chunks);
  }
  bool is_whole = true;
  for (const oci::Descriptor& blob : blobs) {
    if (place_->has_blob(blob)) continue;
    is_whole = false;
    std::lock_guard lock(mutex_);
    gone_.insert(blob.digest);
  }
  return is_whole;
}

void Export::send_layer(Entry entry, const std::vector<store::LayerRef>& forms, bool is_made) {
  options_.cancellation.check();
  TraceSpan span("export a step to a cache");
  std::optional<Entry> there;
  if (Index* index = before()) there = index->find(entry.key);
  // A step that has an entry there and ran all the same: what the entry names may have been lost.
  if (there && is_made && !is_sound(*there)) there.reset();
  if (there && there->layer.id == entry.layer.id) {
    entry.manifest = there->manifest;
  } else {
    const std::string packed = compress(store_.layers().load(entry.layer.id)->serialize());
    entry.manifest = oci::describe(kLayerManifestType, packed);
    put_bytes(entry.manifest, packed);
  }
  for (const store::LayerRef& form : forms) {
    if (is_late()) {
      std::lock_guard lock(mutex_);
      result_.late++;
      break;
    }
    try {
      if (auto record = send_blob(form, there)) entry.blobs.push_back(std::move(*record));
    } catch (const Error& error) {
      // Without its bytes the layer can still be compared. A layer that is lost is nobody's fault here.
      if (!is_late() && error.code() != ErrorCode::kLost) throw;
      std::lock_guard lock(mutex_);
      result_.late += is_late();
    }
  }
  std::lock_guard lock(mutex_);
  Contents one;
  one.entries.emplace(entry.key, std::move(entry));
  made_.add(one);
}

std::optional<LayerBlobRecord> Export::send_blob(const store::LayerRef& form,
                                                 const std::optional<Entry>& before) {
  if (before && before->layer.id == form.id)
    for (const LayerBlobRecord& record : before->blobs)
      if (record.time == form.time) return record;
  LayerBlobRecord record;
  record.time = form.time;
  // One that lies elsewhere and was not needed here is fetched only if this place lacks it.
  auto blob = image::known_blob(form, options_.compression, store_);
  auto diff = store_.layers().find_diff(form);
  if (!blob || !diff || store_.layers().is_whole(form.id)) {
    blob = image::ensure_blob(form, options_.compression, options_.threads, store_, options_.cancellation);
    diff = store_.layers().find_diff(form);
  }
  record.diff = diff.value();
  record.blob = *blob;
  record.format = image::format_of(form, options_.compression, store_);
  put(*blob, [&](uint64_t offset) {
    if (!store_.has_blob(blob->digest))
      image::ensure_blob(form, options_.compression, options_.threads, store_, options_.cancellation);
    return std::make_unique<TimedFile>(store_.blob_path(blob->digest), offset, is_late_);
  });
  // A small one is fetched whole.
  constexpr uint64_t kWorthReadingInParts = 1 << 20;
  if (const std::string chunks = store_.layers().find_recipe(record.diff.diff_id, record.format);
      !chunks.empty() && blob->size >= kWorthReadingInParts) {
    record.chunks = oci::describe(kLayerChunksType, chunks);
    put_bytes(record.chunks, chunks);
  }
  return record;
}

// Reads what is there, adds, writes, and looks whether it is what is there now: where places know no
// conditions, two that write at once cannot both be last. Each adds again until its own is in.
void Export::write(Exported& result) {
  std::set<Digest> put;
  uint32_t random = static_cast<uint32_t>(getpid()) * 2654435761u;
  for (int tried = 0; tried < kTries; tried++) {
    auto index = Index::read(*place_);
    const Contents there = index ? index->all() : Contents();
    if (!there.entries.empty() && there.entries.begin()->second.is_inline())
      throw Error(ErrorCode::kUsage,
                  fmt::format("{}: an image is there, which carries a cache of its own", place_->name()))
          .with_hint("give the cache a name of its own");
    Contents contents = there;
    // What names a blob that is gone is of no use, and keeps a strict registry from taking the manifest.
    std::erase_if(contents.entries, [&](const auto& item) {
      if (gone_.contains(item.second.manifest.digest)) return true;
      return std::any_of(item.second.blobs.begin(), item.second.blobs.end(),
                         [&](const LayerBlobRecord& record) {
                           return gone_.contains(record.blob.digest) || gone_.contains(record.chunks.digest);
                         });
    });
    contents.add(made_);
    contents.shrink(options_.max_bytes);
    result.entries = contents.entries.size();
    if (index && contents == there) return;
    const std::string bytes = write_index(contents, *place_, [&](const Digest& blob) {
      return (index && index->names(blob) && !gone_.contains(blob)) || !put.insert(blob).second;
    });
    // An entry that another writer took out again would name blobs that may be gone.
    const auto now = place_->manifest();
    if (now && *now == bytes) return;
    random = random * 1664525u + 1013904223u;
    std::this_thread::sleep_for(std::chrono::milliseconds((50 << tried) + random % 100));
  }
  result.is_contended = true;
}

Exported Export::finish() {
  const int64_t began = monotonic_ns();
  std::set<std::string> mounts;
  {
    std::lock_guard lock(mutex_);
    mounts.swap(mounts_);
  }
  for (const std::string& id : mounts)
    pool_.submit([this, id] {
      try {
        send_mount(id);
      } catch (const std::exception&) {
        if (!is_late()) return failed(std::current_exception());
        std::lock_guard lock(mutex_);
        result_.late++;
      }
    });
  {
    std::promise<void> done;
    std::jthread clock([&, over = done.get_future()] {
      if (over.wait_for(std::chrono::seconds(options_.timeout_s)) == std::future_status::timeout)
        is_late_ = true;
    });
    pool_.wait();
    done.set_value();
  }
  if (error_) std::rethrow_exception(error_);
  Exported result = result_;
  result.new_entries = made_.entries.size();
  if (!made_.entries.empty() || !made_.mounts.empty()) {
    TraceSpan span("write a cache's index");
    write(result);
    result.dropped_bytes = place_->drop_unreachable();
  }
  result.took_ns = monotonic_ns() - began;
  return result;
}

}  // namespace corten::cache
