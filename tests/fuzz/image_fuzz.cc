// What the store's index keeps of a layer for its next version, and annotations.
#include "fuzz/fuzz.h"
#include "image/layer_records.h"

namespace corten::fuzz {

using namespace corten::image;

namespace {
std::string checkpoints() {
  std::vector<Checkpoint> all;
  Sha256 hash;
  for (size_t i = 1; i <= 3; i++) {
    hash.update(std::string(512 * i, 'x'));
    all.push_back({i * 2, 256 * i * (i + 1), hash});
  }
  return checkpoints_text(all);
}
}  // namespace

// Checkpoints go up, between blocks, and each hash has seen as many bytes as lie before it.
FUZZ_TARGET(checkpoints, checkpoints(), checkpoints().substr(56)) {
  std::vector<Checkpoint> read = parse_checkpoints(input);
  REQUIRE(read.size() <= input.size() / 56);
  uint64_t entry = 0, offset = 0;
  for (const Checkpoint& point : read) {
    REQUIRE(point.entry > entry && (offset == 0 || point.offset > offset) && point.offset % 512 == 0);
    entry = point.entry, offset = point.offset;
  }
  REQUIRE(checkpoints_text(read) == input.substr(0, read.size() * 56));
  for (Checkpoint& point : read) point.hash.update(std::string(100, 'x')).finish();
}

FUZZ_TARGET(recipe, std::string(16, '\1'), std::string("\0\0\x10\0\0\1\0\0abcdefgh", 16)) {
  archive::GzipResult blob;
  blob.chunks = parse_recipe(input);
  if (!blob.chunks.empty()) REQUIRE(recipe_of(blob) == input);
  for (const archive::ChunkRecord& chunk : blob.chunks)
    REQUIRE(chunk.raw_size <= 1 << 20 && chunk.compressed_size <= 2 << 20);
}

// A damaged hash state is none, and one that is read is written as it was.
FUZZ_TARGET(hash_state, Sha256().save(), Sha256().update("abc").save(),
            Sha256().update(std::string(64, 'x')).save()) {
  if (auto hash = Sha256::restore(input)) {
    REQUIRE(hash->save() == input);
    hash->update("more").finish();
  }
}

}  // namespace corten::fuzz
