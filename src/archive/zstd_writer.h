// zstd output: one frame, one thread, the content size unknown, a checksum at the end. The same library
// version and level give the same bytes; another version need not, so a zstd blob is remembered whole, never
// made again by chunk.
#pragma once
#include <memory>
#include <string_view>

#include "archive/source.h"

namespace corten::archive {

class ZstdWriter : public ByteSink {
 public:
  // level 1..19; others are Error(kInvalid).
  explicit ZstdWriter(ByteSink& to, int level = 3);
  ~ZstdWriter() override;
  void write(std::string_view bytes) override;
  void finish();  // must be called; nothing may be written after it

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace corten::archive
