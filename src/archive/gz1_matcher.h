// Finds what was there before: turns a chunk's bytes into sequences, a sub-block at a time.
#pragma once
#include <memory>
#include <string_view>
#include <vector>

#include "archive/gz1_format.h"

namespace corten::archive::gz1 {

class Matcher {
 public:
  // Borrows the chunk, at most kMaxChunkBytes.
  explicit Matcher(std::string_view chunk);

  // Appends the sequences of the next sub-block (about 8 KiB) and counts its symbols; gives its raw size, 0
  // at the end.
  size_t next(std::vector<Sequence>& sequences, SymbolCounts& counts);

 private:
  const uint8_t* bytes_;
  size_t size_;
  size_t search_end_;  // matches are looked for, and positions inserted, before it
  size_t position_ = 0;
  std::unique_ptr<uint16_t[]> table_;
};

}  // namespace corten::archive::gz1
