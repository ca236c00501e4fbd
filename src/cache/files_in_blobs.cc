// Single files of a layer's blob, without the rest of it.
//
// Our gzip is made of chunks that refer to nothing before them (docs/formats/layers.md), the record of a blob
// says how long each is, and where a file lies in the tar follows from the layer's manifest. So who wants a
// program of 5 MB out of a layer of 500 asks for the bytes of a few chunks. Nothing here is believed: what
// comes out must have the digest that the manifest says, or the whole layer is fetched.
#include <algorithm>

#include "archive/compression.h"
#include "archive/gzip_encoder.h"
#include "base/error.h"
#include "base/trace.h"
#include "cache/imports.h"
#include "image/layer_records.h"
#include "store/layer_tar.h"

namespace corten::cache {

namespace {

constexpr size_t kMaxRecipeBytes = 64 << 20;
constexpr uint64_t kBlock = 512;
constexpr size_t kOneRequest = 8 << 20;  // compressed bytes, asked for at once

// Where each chunk begins, raw and compressed.
struct ChunkPlace {
  uint64_t raw = 0, compressed = 0;
  archive::ChunkRecord record;
};

std::vector<ChunkPlace> places_of(const std::vector<archive::ChunkRecord>& chunks) {
  std::vector<ChunkPlace> places;
  uint64_t raw = 0, compressed = archive::gzip_prologue().size();
  for (const archive::ChunkRecord& chunk : chunks) {
    places.push_back({raw, compressed, chunk});
    raw += chunk.raw_size;
    compressed += chunk.compressed_size;
  }
  return places;
}

// The raw bytes [begin, end) of a blob.
class RawBytes : public archive::ByteSource {
 public:
  RawBytes(Place& place, const oci::Descriptor& blob, const std::vector<ChunkPlace>& chunks, uint64_t begin,
           uint64_t end, uint64_t& asked)
      : place_(place), blob_(blob), chunks_(chunks), at_(begin), end_(end), asked_(asked) {
    next_ = std::upper_bound(chunks.begin(), chunks.end(), begin,
                             [](uint64_t raw, const ChunkPlace& chunk) { return raw < chunk.raw; });
    if (next_ == chunks.begin()) fail(ErrorCode::kCorrupt, "the chunks do not begin at the start");
    --next_;
  }

  size_t read(void* data, size_t size) override {
    if (at_ == end_) return 0;
    if (raw_.size() == used_) expand_next();
    const size_t n = static_cast<size_t>(std::min<uint64_t>({size, raw_.size() - used_, end_ - at_}));
    raw_.copy(static_cast<char*>(data), n, used_);
    used_ += n;
    at_ += n;
    return n;
  }

 private:
  void expand_next() {
    if (next_ == chunks_.end()) fail(ErrorCode::kCorrupt, "the chunks end before the file");
    const ChunkPlace& chunk = *next_++;
    if (packed_.size() - packed_used_ < chunk.record.compressed_size) ask(chunk);
    std::string member(archive::gzip_prologue());
    member.append(packed_, packed_used_, chunk.record.compressed_size);
    packed_used_ += chunk.record.compressed_size;
    member += archive::gzip_epilogue(chunk.record.raw_crc32, chunk.record.raw_size);
    archive::StringSource from(member);
    auto plain = archive::open_decompressor(from, archive::Compression::kGzip);
    raw_ = archive::read_rest(*plain, chunk.record.raw_size);
    if (raw_.size() != chunk.record.raw_size) fail(ErrorCode::kCorrupt, "a chunk has another size");
    used_ = at_ > chunk.raw ? static_cast<size_t>(at_ - chunk.raw) : 0;
    if (used_ >= raw_.size()) fail(ErrorCode::kCorrupt, "a chunk is empty");
  }

  // This chunk, and those behind it that the file needs, up to a limit.
  void ask(const ChunkPlace& first) {
    size_t size = first.record.compressed_size;
    for (auto chunk = next_; chunk != chunks_.end() && chunk->raw < end_; ++chunk) {
      if (size + chunk->record.compressed_size > kOneRequest) break;
      size += chunk->record.compressed_size;
    }
    packed_ = place_.read_part(blob_, first.compressed, size);
    if (packed_.size() != size) fail(ErrorCode::kCorrupt, "the blob ends before its chunks");
    packed_used_ = 0;
    asked_ += size;
  }

  Place& place_;
  const oci::Descriptor& blob_;
  const std::vector<ChunkPlace>& chunks_;
  std::vector<ChunkPlace>::const_iterator next_;
  uint64_t at_;
  const uint64_t end_;
  uint64_t& asked_;
  std::string packed_, raw_;
  size_t packed_used_ = 0, used_ = 0;
};

}  // namespace

store::FileSupply make_file_supply(store::Store& store, const std::shared_ptr<Imports>& imports) {
  return [&store, imports](const Digest& layer, const store::Manifest& manifest,
                           const std::vector<const store::Entry*>& files) {
    const auto form = imports->in_parts(layer);
    if (!form) return false;
    TraceSpan span("fetch files of a layer");
    try {
      const LayerBlobRecord& record = form->record;
      const std::vector<ChunkPlace> chunks =
          places_of(image::parse_recipe(form->place->read_blob(record.chunks, kMaxRecipeBytes)));
      const std::vector<uint64_t> offsets =
          store::layer_tar_offsets(manifest, {.time = record.time, .clamp = {}});
      uint64_t asked = 0;
      for (const store::Entry* file : files) {
        const size_t number = static_cast<size_t>(file - manifest.entries().data());
        const uint64_t padded = (file->size + kBlock - 1) / kBlock * kBlock;
        const uint64_t begin = offsets.at(number + 1) - padded;
        RawBytes raw(*form->place, record.blob, chunks, begin, begin + file->size, asked);
        if (store.contents().add_stream(raw).digest != file->content)
          fail(ErrorCode::kCorrupt, "{}: the chunks give another digest", file->path.absolute());
      }
      imports->note_fetched(layer, asked);
      return true;
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kCancelled || error.code() == ErrorCode::kNoSpace) throw;
      return false;  // the whole layer tells what is wrong, if anything is
    }
  };
}

}  // namespace corten::cache
