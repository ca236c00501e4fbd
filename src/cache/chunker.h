// Where a stream of bytes is cut, so that what stays equal is cut alike.
//
// With pieces of a fixed size an inserted byte moves all that follows. Here the content says where a piece
// ends: a hash rolls over the last 64 bytes, h = (h << 1) + gear[byte], and a piece ends behind a byte where
// the hash's highest bits are all 0 (FastCDC: Xia et al., USENIX ATC 2016). The first 256 KiB of a piece are
// not looked at; up to 1 MiB 22 bits must be 0, behind it 18, and at 4 MiB it ends in any case: so most
// pieces have about 1 MiB. A change alters the piece that it is in, and those behind it until two cuts fall
// together again, which is one or two on average.
//
// Everything of this is frozen: other numbers give other cuts, and nothing that was sent is found again.
// gear[i] is the (i+1)th number of SplitMix64 from the seed 0x636f7274656e2d31 ("corten-1").
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace corten::cache {

inline constexpr size_t kMinChunkBytes = 256 << 10, kAverageChunkBytes = 1 << 20, kMaxChunkBytes = 4 << 20;

uint64_t gear_number(uint8_t byte);

// Not thread-safe; holds one piece.
class Chunker {
 public:
  using Take = std::function<void(std::string_view chunk)>;
  explicit Chunker(Take take) : take_(std::move(take)) {}

  void write(std::string_view bytes);
  // Ends the piece here, if there is one: at the end, and where what follows has nothing to do with it.
  void cut();

 private:
  Take take_;
  std::string piece_;
  size_t looked_at_ = 0;
  uint64_t hash_ = 0;
};

}  // namespace corten::cache
