#include "archive/zstd_writer.h"

#include <zstd.h>

#include "base/error.h"

namespace corten::archive {

struct ZstdWriter::State {
  ByteSink& to;
  ZSTD_CStream* stream = ZSTD_createCStream();
  std::string buffer = std::string(ZSTD_CStreamOutSize(), '\0');
  bool finished = false;

  explicit State(ByteSink& sink) : to(sink) {}
  ~State() { ZSTD_freeCStream(stream); }

  void set(ZSTD_cParameter parameter, int value) {
    if (ZSTD_isError(ZSTD_CCtx_setParameter(stream, parameter, value)))
      fail(ErrorCode::kInternal, "zstd: parameter {} cannot be {}", static_cast<int>(parameter), value);
  }

  // True when everything given is written (and, at the end, flushed).
  bool step(ZSTD_inBuffer& in, ZSTD_EndDirective directive) {
    ZSTD_outBuffer out{buffer.data(), buffer.size(), 0};
    size_t left = ZSTD_compressStream2(stream, &out, &in, directive);
    if (ZSTD_isError(left)) fail(ErrorCode::kInternal, "zstd: {}", ZSTD_getErrorName(left));
    if (out.pos) to.write({buffer.data(), out.pos});
    return directive == ZSTD_e_end ? left == 0 : in.pos == in.size;
  }
};

ZstdWriter::ZstdWriter(ByteSink& to, int level) : state_(std::make_unique<State>(to)) {
  if (level < 1 || level > 22) fail(ErrorCode::kInvalid, "zstd level {}: must be 1 to 22", level);
  if (!state_->stream) fail(ErrorCode::kNoSpace, "zstd: out of memory");
  state_->set(ZSTD_c_compressionLevel, level);
  // The highest levels would have readers keep 128 MiB; 8 MiB is what every reader takes (RFC
  // 8878, 3.1.1.1.2).
  constexpr int kHighestPlain = 19, kWindowLog = 23;
  if (level > kHighestPlain) state_->set(ZSTD_c_windowLog, kWindowLog);
  state_->set(ZSTD_c_checksumFlag, 1);
}
ZstdWriter::~ZstdWriter() = default;

void ZstdWriter::write(std::string_view bytes) {
  if (state_->finished) fail(ErrorCode::kInternal, "zstd writer: bytes after the end");
  ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
  while (in.pos < in.size) state_->step(in, ZSTD_e_continue);
}

void ZstdWriter::finish() {
  if (state_->finished) return;
  ZSTD_inBuffer in{nullptr, 0, 0};
  while (!state_->step(in, ZSTD_e_end)) {
  }
  state_->finished = true;
}

}  // namespace corten::archive
