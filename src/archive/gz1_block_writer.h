// Deflate blocks (RFC 1951, section 3.2.3), each in the smallest of its three forms.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "archive/gz1_format.h"
#include "archive/gz1_huffman.h"

namespace corten::archive::gz1 {

class BlockWriter {
 public:
  // A block that is not the last one. `sequences` are those of `raw`, `counts` its symbols.
  void write(std::string_view raw, std::span<const Sequence> sequences, const SymbolCounts& counts);
  // An empty stored block: ends on a byte boundary (a "full flush").
  void flush();
  // What was written; only after flush().
  std::string take() { return std::string(reinterpret_cast<const char*>(bytes_.data()), size_); }

 private:
  void put(uint64_t bits, int count);  // at most 57 at a time
  void reserve(uint64_t bits);
  void align();
  void write_stored(std::string_view raw);
  void write_coded(std::string_view raw, std::span<const Sequence> sequences, std::span<const Code> literals,
                   std::span<const Code> distances);

  std::vector<uint8_t> bytes_;
  size_t size_ = 0;      // whole bytes
  uint64_t buffer_ = 0;  // bits not yet a byte; stored beyond size_, too
  int bits_ = 0;         // 0..7 between calls
};

}  // namespace corten::archive::gz1
