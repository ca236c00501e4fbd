// gzip at one of zlib's levels, for those who ask for one (compression-level=N). The default form is gz1
// (gzip_encoder.h): parallel, remembered chunk by chunk, frozen. This one is a plain single stream.
//
// The same bytes come out on every machine and with any number of threads: Debian's zlib chooses nothing by
// the processor. Another version of zlib may compress otherwise; zlib_format_name() therefore holds the
// version, so that a remembered blob is never taken for one of another version.
#pragma once
#include <memory>
#include <string>

#include "archive/source.h"

namespace corten::archive {

class ZlibWriter : public ByteSink {
 public:
  // `level` 0 (stored) to 9. `to` must outlive the writer. Error(kInvalid).
  ZlibWriter(ByteSink& to, int level);
  ~ZlibWriter() override;
  void write(std::string_view bytes) override;
  void finish();  // once, after the last byte

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string zlib_format_name(int level);  // "zlib-6-1.2.13"

}  // namespace corten::archive
