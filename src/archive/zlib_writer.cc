#include "archive/zlib_writer.h"

#include <zlib.h>

#include "base/error.h"

namespace corten::archive {

// zlib is always fed pieces of this size: stored blocks (level 0) are cut where its input happens to end.
static constexpr size_t kPiece = 64 << 10;

struct ZlibWriter::State {
  ByteSink& to;
  z_stream stream{};
  gz_header header{};
  std::string pending;  // at most kPiece
  std::string buffer = std::string(kPiece, '\0');
  bool finished = false;

  explicit State(ByteSink& sink) : to(sink) {}
  ~State() { deflateEnd(&stream); }

  void run(int flush) {
    int code = Z_OK;
    stream.next_in = reinterpret_cast<Bytef*>(pending.data());
    stream.avail_in = static_cast<uInt>(pending.size());
    do {
      stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
      stream.avail_out = static_cast<uInt>(buffer.size());
      code = deflate(&stream, flush);
      if (code == Z_STREAM_ERROR) fail(ErrorCode::kInternal, "zlib: the stream is broken");
      if (size_t made = buffer.size() - stream.avail_out) to.write({buffer.data(), made});
    } while (stream.avail_out == 0);
    pending.clear();
  }
};

ZlibWriter::ZlibWriter(ByteSink& to, int level) : state_(std::make_unique<State>(to)) {
  if (level < 0 || level > 9) fail(ErrorCode::kInvalid, "gzip level {}: must be 0 to 9", level);
  constexpr int kGzipWindow = 15 + 16, kMemory = 8, kUnknownSystem = 255;
  if (deflateInit2(&state_->stream, level, Z_DEFLATED, kGzipWindow, kMemory, Z_DEFAULT_STRATEGY) != Z_OK)
    fail(ErrorCode::kNoSpace, "zlib: out of memory");
  // Neither time nor system: both would tell of the machine.
  state_->header.os = kUnknownSystem;
  deflateSetHeader(&state_->stream, &state_->header);
}
ZlibWriter::~ZlibWriter() = default;

void ZlibWriter::write(std::string_view bytes) {
  if (state_->finished) fail(ErrorCode::kInternal, "zlib writer: bytes after the end");
  while (!bytes.empty()) {
    std::string_view part = bytes.substr(0, kPiece - state_->pending.size());
    state_->pending += part;
    bytes.remove_prefix(part.size());
    if (state_->pending.size() == kPiece) state_->run(Z_NO_FLUSH);
  }
}

void ZlibWriter::finish() {
  if (state_->finished) return;
  state_->run(Z_FINISH);
  state_->finished = true;
}

std::string zlib_format_name(int level) {
  return fmt::format("zlib-{}-{}", level, zlibVersion());
}

}  // namespace corten::archive
