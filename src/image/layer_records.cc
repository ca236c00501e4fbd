#include "image/layer_records.h"

#include "archive/tar_fields.h"

namespace corten::image {

namespace {

void put(std::string& to, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) to += static_cast<char>(value >> (8 * i));
}
uint64_t get(std::string_view from, size_t at, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = bytes; i-- > 0;) value = value << 8 | static_cast<uint8_t>(from[at + i]);
  return value;
}

constexpr size_t kWordsBytes = 32,
                 kStateBytes = 40;  // of a hash between blocks: tar members are whole blocks
constexpr size_t kCheckpointBytes = 8 + 8 + kStateBytes;
constexpr size_t kMostCheckpoints = 1024;

constexpr size_t kChunkBytes = 16;
// Of raw bytes; compressed, incompressible ones take a little more.
constexpr uint32_t kMostRaw = 1 << 20, kMostCompressed = kMostRaw + (64 << 10);

}  // namespace

std::string checkpoints_text(std::span<const Checkpoint> all) {
  size_t step = all.size() / kMostCheckpoints + 1;
  std::string text;
  for (size_t i = step - 1; i < all.size(); i += step) {
    put(text, all[i].entry, 8);
    put(text, all[i].offset, 8);
    text += all[i].hash.save();
  }
  return text;
}

std::vector<Checkpoint> parse_checkpoints(std::string_view text) {
  std::vector<Checkpoint> all;
  for (size_t at = 0; at + kCheckpointBytes <= text.size(); at += kCheckpointBytes) {
    Checkpoint next{get(text, at, 8), get(text, at + 8, 8), {}};
    std::string_view state = text.substr(at + 16, kStateBytes);
    auto hash = Sha256::restore(state);
    bool is_later =
        all.empty() ? next.entry > 0 : next.entry > all.back().entry && next.offset > all.back().offset;
    // The state tells how many bytes it has seen.
    if (!hash || !is_later || next.offset % archive::kTarBlockBytes != 0 ||
        next.offset != get(state, kWordsBytes, 8))
      break;
    next.hash = *hash;
    all.push_back(next);
  }
  return all;
}

std::string recipe_of(const archive::GzipResult& blob) {
  std::string text;
  for (const archive::ChunkRecord& chunk : blob.chunks)
    for (uint32_t word : {chunk.raw_size, chunk.compressed_size, chunk.raw_crc32, chunk.compressed_crc32})
      put(text, word, 4);
  return text;
}

std::vector<archive::ChunkRecord> parse_recipe(std::string_view text) {
  std::vector<archive::ChunkRecord> chunks;
  auto word = [&](size_t at) { return static_cast<uint32_t>(get(text, at, 4)); };
  if (text.size() % kChunkBytes != 0) return {};
  for (size_t at = 0; at < text.size(); at += kChunkBytes) {
    chunks.push_back({word(at), word(at + 4), word(at + 8), word(at + 12)});
    if (chunks.back().raw_size > kMostRaw || chunks.back().compressed_size > kMostCompressed) return {};
  }
  return chunks;
}

}  // namespace corten::image
