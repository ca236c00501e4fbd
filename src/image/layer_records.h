// The two records by which a later version of a layer is made of an earlier one (layer_reuse.h): where its
// tar may be taken up again, and of which chunks its blob is. docs/formats, "Index". Pure.
//
// A record that is damaged must cost time and never a wrong digest or memory: what does not hold together, or
// claims more than an encoder makes, is no record.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "archive/gzip_encoder.h"
#include "base/digest.h"

namespace corten::image {

// A place in a tar between two entries, and the hash of all before it.
struct Checkpoint {
  uint64_t entry = 0, offset = 0;
  Sha256 hash;
};

// Of a huge layer every n-th is kept.
std::string checkpoints_text(std::span<const Checkpoint> checkpoints);
// In order; those up to the first that is none.
std::vector<Checkpoint> parse_checkpoints(std::string_view text);

std::string recipe_of(const archive::GzipResult& blob);
// Empty when one of them is no chunk of our encoder.
std::vector<archive::ChunkRecord> parse_recipe(std::string_view text);

}  // namespace corten::image
