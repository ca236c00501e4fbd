#include "image/layer_reuse.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>

#include "base/error.h"
#include "base/trace.h"
#include "image/layer_records.h"
#include "store/layer_tar.h"

namespace corten::image {

namespace {

using store::Entry;
using store::Manifest;

size_t common_prefix(const Manifest& a, const Manifest& b) {
  size_t count = 0, most = std::min(a.entries().size(), b.entries().size());
  while (count < most && a.entries()[count] == b.entries()[count]) count++;
  return count;
}

size_t common_suffix(const Manifest& a, const Manifest& b, size_t prefix) {
  const auto &x = a.entries(), &y = b.entries();
  size_t count = 0, most = std::min(x.size(), y.size()) - prefix;
  while (count < most && x[x.size() - 1 - count] == y[y.size() - 1 - count]) count++;
  return count;
}

// The version before, when its tar has the same times.
std::optional<store::LayerRef> earlier_version(const store::LayerRef& layer, store::Store& store) {
  auto earlier = store.layers().predecessor(layer);
  if (!earlier || earlier->time != layer.time || !store.layers().has(earlier->id)) return std::nullopt;
  return earlier;
}

constexpr uint64_t kSpacing = 1 << 20;

// Into a hash, and on to `also` if there is one. The hash is made on a thread of its own once there is much:
// reading many small files takes as long as hashing them.
class HashSink : public archive::ByteSink {
 public:
  HashSink(const Sha256& start, archive::ByteSink* also, const Cancellation& cancellation)
      : hash_(start), also_(also), cancellation_(cancellation), thread_(1) {}
  void write(std::string_view bytes) override {
    cancellation_.check();
    if (also_) also_->write(bytes);
    block_ += bytes;
    if (block_.size() >= kBlock) hand_over();
  }
  // Notes the hash as it is after all that was written so far.
  void mark(uint64_t entry, uint64_t offset, std::vector<Checkpoint>& to) {
    hand_over();
    thread_.submit([this, entry, offset, &to] { to.push_back({entry, offset, hash_}); });
  }
  Digest finish() {
    thread_.wait();
    hash_.update(block_);
    return hash_.finish();
  }

 private:
  static constexpr size_t kBlock = 256 << 10;
  static constexpr size_t kMostWaiting = 8;  // blocks

  void hand_over() {
    {
      std::unique_lock lock(mutex_);
      less_waiting_.wait(lock, [&] { return waiting_ < kMostWaiting; });
      waiting_++;
    }
    thread_.submit([this, block = std::exchange(block_, {})] {
      hash_.update(block);
      {
        std::lock_guard lock(mutex_);
        waiting_--;
      }
      less_waiting_.notify_one();
    });
    block_.reserve(kBlock);
  }

  Sha256 hash_;
  archive::ByteSink* also_;
  const Cancellation& cancellation_;
  std::string block_;
  std::mutex mutex_;
  std::condition_variable less_waiting_;
  size_t waiting_ = 0;
  ThreadPool thread_;  // the last member: it ends first
};

// From a checkpoint of `known`, or from the start, to the end.
HashedTar hash_rest(const Manifest& manifest, const store::LayerRef& layer, store::Store& store,
                    std::vector<Checkpoint> known, archive::ByteSink* also, archive::TarHints* hints,
                    const Cancellation& cancellation) {
  Checkpoint start;
  if (!known.empty()) start = known.back();
  HashSink sink(start.hash, also, cancellation);
  archive::TarWriter writer(sink, hints);
  const std::vector<Entry>& entries = manifest.entries();
  uint64_t last = start.offset;
  for (size_t i = start.entry; i < entries.size(); i++) {
    store::write_layer_entry(entries[i], {.time = layer.time, .clamp = {}}, store.contents(), writer);
    uint64_t offset = start.offset + writer.offset();
    if (offset - last < kSpacing) continue;
    sink.mark(i + 1, offset, known);
    last = offset;
  }
  writer.finish();
  const DiffId diff_id{sink.finish()};
  return {{diff_id, start.offset + writer.offset()}, checkpoints_text(known)};
}

}  // namespace

HashedTar write_hashed_tar(const store::LayerRef& layer, store::Store& store, archive::ByteSink& to,
                           archive::TarHints* hints, const Cancellation& cancellation) {
  return hash_rest(*store.layers().load(layer.id), layer, store, {}, &to, hints, cancellation);
}

HashedTar hash_tar(const store::LayerRef& layer, store::Store& store, const Cancellation& cancellation) {
  TraceSpan span("diff id of a layer");
  auto manifest = store.layers().load(layer.id);
  std::vector<Checkpoint> known;
  if (auto earlier = earlier_version(layer, store)) {
    size_t same = common_prefix(*store.layers().load(earlier->id), *manifest);
    known = parse_checkpoints(store.layers().find_checkpoints(*earlier));
    while (!known.empty() && known.back().entry > same) known.pop_back();
  }
  return hash_rest(*manifest, layer, store, std::move(known), nullptr, nullptr, cancellation);
}

namespace {

// The blob of the earlier version, chunk by chunk.
class EarlierBlob {
 public:
  EarlierBlob(std::vector<archive::ChunkRecord> chunks, UniqueFd file)
      : chunks_(std::move(chunks)), file_(std::move(file)) {
    uint64_t raw = 0, compressed = archive::gzip_prologue().size();
    for (const archive::ChunkRecord& chunk : chunks_) {
      starts_.emplace(raw, places_.size());
      places_.push_back(compressed);
      raw += chunk.raw_size;
      compressed += chunk.compressed_size;
    }
    raw_size_ = raw;
  }

  size_t count() const { return chunks_.size(); }
  uint64_t raw_size() const { return raw_size_; }
  // The chunk that begins there, in the raw bytes.
  std::optional<size_t> chunk_at(uint64_t raw_offset) const {
    auto at = starts_.find(raw_offset);
    return at == starts_.end() ? std::nullopt : std::optional(at->second);
  }
  void copy(size_t first, size_t last, archive::GzipWriter& to) const {
    std::string bytes;
    for (size_t i = first; i < last; i++) {
      const archive::ChunkRecord& chunk = chunks_[i];
      bytes.resize(chunk.compressed_size);
      ssize_t n = pread(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(places_[i]));
      if (n < 0) fail_errno("read a blob");
      to.append(std::string_view(bytes).substr(0, static_cast<size_t>(n)), chunk);
    }
  }

 private:
  std::vector<archive::ChunkRecord> chunks_;
  UniqueFd file_;
  std::map<uint64_t, size_t> starts_;  // raw offsets
  std::vector<uint64_t> places_;       // in the blob
  uint64_t raw_size_ = 0;
};

std::optional<EarlierBlob> find_earlier_blob(const store::LayerRef& earlier, store::Store& store) {
  auto diff = store.layers().find_diff(earlier);
  if (!diff) return std::nullopt;
  auto blob = store.layers().find_blob(diff->diff_id, archive::kGzipFormatName);
  if (!blob || !store.has_blob(blob->digest)) return std::nullopt;
  auto chunks = parse_recipe(store.layers().find_recipe(diff->diff_id, archive::kGzipFormatName));
  if (chunks.empty()) return std::nullopt;
  EarlierBlob found(std::move(chunks), open_file(store.blob_path(blob->digest), O_RDONLY));
  if (found.raw_size() != diff->tar_bytes) return std::nullopt;
  return found;
}

}  // namespace

std::optional<archive::GzipResult> compress_changes(const store::LayerRef& layer, unsigned threads,
                                                    store::Store& store, archive::ByteSink& to) {
  // A cut may wait that long for a better place, so it depends on that much behind it.
  constexpr uint64_t kLookAhead = 256 << 10;
  auto earlier = earlier_version(layer, store);
  if (!earlier) return std::nullopt;
  auto blob = find_earlier_blob(*earlier, store);
  if (!blob) return std::nullopt;
  auto before = store.layers().load(earlier->id), after = store.layers().load(layer.id);
  const store::TarTimes times{.time = layer.time, .clamp = {}};
  std::vector<uint64_t> old_offsets = store::layer_tar_offsets(*before, times),
                        offsets = store::layer_tar_offsets(*after, times);
  // Our own tar of it, not one that somebody else made of the same files.
  if (old_offsets.back() + archive::kTarEndBytes != blob->raw_size()) return std::nullopt;
  size_t prefix = common_prefix(*before, *after), suffix = common_suffix(*before, *after, prefix);

  // The last entry before the change that begins a chunk, with enough behind it that is the same.
  size_t first = 0, first_chunk = 0;
  for (size_t i = prefix; i-- > 0;)
    if (auto chunk = blob->chunk_at(offsets[i]); chunk && offsets[i] + kLookAhead <= offsets[prefix]) {
      first = i;
      first_chunk = *chunk;
      break;
    }

  archive::GzipWriter gzip(to, {.threads = threads});
  blob->copy(0, first_chunk, gzip);
  archive::TarWriter writer(gzip, &gzip);
  const size_t count = after->entries().size(), old_count = before->entries().size();
  for (size_t i = first; i < count; i++) {
    if (i + suffix >= count && i > first && gzip.is_at_cut())
      if (auto chunk = blob->chunk_at(old_offsets[old_count - (count - i)])) {
        gzip.end_chunk();
        blob->copy(*chunk, blob->count(), gzip);
        return gzip.finish();
      }
    // The diff id is known and not hashed again: what goes in must be what the manifest says.
    store::write_layer_entry(after->entries()[i], times, store.contents(), writer, true);
  }
  writer.finish();
  return gzip.finish();
}

}  // namespace corten::image
