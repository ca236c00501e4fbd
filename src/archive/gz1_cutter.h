// Where a tar stream is cut into chunks: at places that its content decides, so that a change stays where it
// was made.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "archive/gz1_format.h"
#include "archive/tar.h"

namespace corten::archive::gz1 {

class Cutter : public TarHints {
 public:
  using Take = std::function<void(std::string chunk)>;
  // `take` gets each chunk, in order, none of them empty.
  explicit Cutter(Take take) : take_(std::move(take)) {}

  void write(std::string_view bytes);
  void member_begins() override;
  void data_begins(uint64_t size) override;
  void finish();

  bool is_empty() const { return chunk_.empty(); }
  bool cuts_at_member() const { return hit_ || chunk_.empty(); }

 private:
  size_t append(std::string_view bytes);
  std::optional<size_t> find_hit(size_t from);
  void cut(size_t at);

  Take take_;
  std::string chunk_;          // not yet cut
  std::optional<size_t> hit_;  // in chunk_: where to cut unless a better place comes soon
  uint64_t hash_ = 0;
  std::optional<uint64_t> file_rest_;  // bytes up to the end of a big file's padding
};

}  // namespace corten::archive::gz1
