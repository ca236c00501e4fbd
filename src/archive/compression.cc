// Each library keeps its own stream state and speaks its own words for "more", "end" and "wrong"; here all
// four read from a ByteSource through one buffer and become one. The rule for the end is the same everywhere:
// a member may only end where the format says so, and after it there is another member or nothing. Only gzip
// tolerates zeros after its last member, as tapes and some registries leave them there.
#include "archive/compression.h"

#include <bzlib.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <array>
#include <cstring>

#include "base/error.h"

namespace corten::archive {

namespace {
constexpr size_t kInputBytes = 64 << 10;
constexpr uint64_t kMaxXzMemory = 256 << 20;
constexpr int kMaxZstdWindowLog = 27;  // 128 MiB

[[noreturn]] void corrupt(Compression compression, std::string_view why) {
  fail(ErrorCode::kCorrupt, "{} stream: {}", compression_name(compression), why);
}

// The compressed bytes, a buffer at a time.
class Input {
 public:
  explicit Input(ByteSource& from) : from_(from), buffer_(std::make_unique<char[]>(kInputBytes)) {}

  // False at the end.
  bool fill() {
    if (used_ < size_) return true;
    used_ = 0;
    size_ = from_.read(buffer_.get(), kInputBytes);
    return size_ > 0;
  }
  char* data() { return buffer_.get() + used_; }
  size_t size() const { return size_ - used_; }
  void consume(size_t count) { used_ += count; }

 private:
  ByteSource& from_;
  std::unique_ptr<char[]> buffer_;
  size_t used_ = 0, size_ = 0;
};

class GzipSource : public ByteSource {
 public:
  explicit GzipSource(ByteSource& from) : input_(from) {
    if (inflateInit2(&stream_, 15 + 16) != Z_OK) fail(ErrorCode::kNoSpace, "zlib: out of memory");
  }
  ~GzipSource() override { inflateEnd(&stream_); }

  size_t read(void* data, size_t size) override {
    size = std::min<size_t>(size, 1 << 30);
    if (ended_ || size == 0) return 0;
    stream_.next_out = static_cast<Bytef*>(data);
    stream_.avail_out = static_cast<uInt>(size);
    while (stream_.avail_out == size) {
      if (!input_.fill()) {
        if (in_member_) corrupt(Compression::kGzip, "truncated");
        ended_ = true;
        return 0;
      }
      if (!in_member_ && members_ > 0 && skip_padding()) return 0;
      in_member_ = true;
      stream_.next_in = reinterpret_cast<Bytef*>(input_.data());
      stream_.avail_in = static_cast<uInt>(input_.size());
      int result = inflate(&stream_, Z_NO_FLUSH);
      input_.consume(input_.size() - stream_.avail_in);
      if (result == Z_STREAM_END) {
        in_member_ = false;
        members_++;
        inflateReset(&stream_);
      } else if (result != Z_OK && result != Z_BUF_ERROR) {
        corrupt(Compression::kGzip, stream_.msg ? stream_.msg : "malformed");
      }
    }
    return size - stream_.avail_out;
  }

 private:
  // After a member: true when nothing but zeros follows.
  bool skip_padding() {
    if (*input_.data() != 0) return false;
    do {
      for (size_t i = 0; i < input_.size(); i++)
        if (input_.data()[i] != 0) corrupt(Compression::kGzip, "other bytes after its end");
      input_.consume(input_.size());
    } while (input_.fill());
    ended_ = true;
    return true;
  }

  Input input_;
  z_stream stream_{};
  uint64_t members_ = 0;
  bool in_member_ = true, ended_ = false;
};

class Bzip2Source : public ByteSource {
 public:
  explicit Bzip2Source(ByteSource& from) : input_(from) { start(); }
  ~Bzip2Source() override { BZ2_bzDecompressEnd(&stream_); }

  size_t read(void* data, size_t size) override {
    size = std::min<size_t>(size, 1 << 30);
    if (ended_ || size == 0) return 0;
    stream_.next_out = static_cast<char*>(data);
    stream_.avail_out = static_cast<unsigned>(size);
    while (stream_.avail_out == size) {
      if (!input_.fill()) {
        if (in_member_) corrupt(Compression::kBzip2, "truncated");
        ended_ = true;
        return 0;
      }
      if (!in_member_) {
        char* next_out = stream_.next_out;
        unsigned avail_out = stream_.avail_out;
        BZ2_bzDecompressEnd(&stream_);
        start();
        stream_.next_out = next_out;
        stream_.avail_out = avail_out;
      }
      stream_.next_in = input_.data();
      stream_.avail_in = static_cast<unsigned>(input_.size());
      int result = BZ2_bzDecompress(&stream_);
      input_.consume(input_.size() - stream_.avail_in);
      if (result == BZ_STREAM_END) {
        in_member_ = false;
      } else if (result != BZ_OK) {
        corrupt(Compression::kBzip2, "malformed");
      }
    }
    return size - stream_.avail_out;
  }

 private:
  void start() {
    stream_ = {};
    if (BZ2_bzDecompressInit(&stream_, 0, 0) != BZ_OK) fail(ErrorCode::kNoSpace, "bzip2: out of memory");
    in_member_ = true;
  }

  Input input_;
  bz_stream stream_{};
  bool in_member_ = true, ended_ = false;
};

class XzSource : public ByteSource {
 public:
  explicit XzSource(ByteSource& from) : input_(from) {
    if (lzma_stream_decoder(&stream_, kMaxXzMemory, LZMA_CONCATENATED) != LZMA_OK)
      fail(ErrorCode::kNoSpace, "xz: out of memory");
  }
  ~XzSource() override { lzma_end(&stream_); }

  size_t read(void* data, size_t size) override {
    if (ended_ || size == 0) return 0;
    stream_.next_out = static_cast<uint8_t*>(data);
    stream_.avail_out = size;
    while (stream_.avail_out == size) {
      lzma_action action = input_.fill() ? LZMA_RUN : LZMA_FINISH;
      stream_.next_in = reinterpret_cast<uint8_t*>(input_.data());
      stream_.avail_in = input_.size();
      lzma_ret result = lzma_code(&stream_, action);
      input_.consume(input_.size() - stream_.avail_in);
      if (result == LZMA_STREAM_END) {
        ended_ = true;
        break;
      }
      if (result == LZMA_MEMLIMIT_ERROR)
        fail(ErrorCode::kUnsupported, "xz stream: needs more than 256 MiB of memory to unpack");
      if (result == LZMA_BUF_ERROR) corrupt(Compression::kXz, "truncated");
      if (result != LZMA_OK) corrupt(Compression::kXz, "malformed");
    }
    return size - stream_.avail_out;
  }

 private:
  Input input_;
  lzma_stream stream_ = LZMA_STREAM_INIT;
  bool ended_ = false;
};

class ZstdSource : public ByteSource {
 public:
  explicit ZstdSource(ByteSource& from) : input_(from), stream_(ZSTD_createDStream()) {
    if (!stream_ || ZSTD_isError(ZSTD_DCtx_setParameter(stream_, ZSTD_d_windowLogMax, kMaxZstdWindowLog)))
      fail(ErrorCode::kNoSpace, "zstd: out of memory");
  }
  ~ZstdSource() override { ZSTD_freeDStream(stream_); }

  size_t read(void* data, size_t size) override {
    if (ended_ || size == 0) return 0;
    ZSTD_outBuffer out{data, size, 0};
    while (out.pos == 0) {
      // The decoder may hold output back although all input is consumed.
      if (!input_.fill() && !pending_) {
        if (in_frame_) corrupt(Compression::kZstd, "truncated");
        ended_ = true;
        return 0;
      }
      ZSTD_inBuffer in{input_.data(), input_.size(), 0};
      size_t result = ZSTD_decompressStream(stream_, &out, &in);
      input_.consume(in.pos);
      if (ZSTD_isError(result)) {
        if (ZSTD_getErrorCode(result) == ZSTD_error_frameParameter_windowTooLarge)
          fail(ErrorCode::kUnsupported, "zstd stream: its window is larger than 128 MiB");
        corrupt(Compression::kZstd, ZSTD_getErrorName(result));
      }
      in_frame_ = result != 0;
      pending_ = in_frame_ && out.pos == out.size;
    }
    return out.pos;
  }

 private:
  Input input_;
  ZSTD_DStream* stream_;
  bool in_frame_ = true, pending_ = false, ended_ = false;
};

// Plain bytes, or the owner of what another source borrows.
class PeekedSource : public ByteSource {
 public:
  PeekedSource(std::string head, ByteSource& rest) : joined_(std::move(head), rest) {}
  size_t read(void* data, size_t size) override {
    return inner_ ? inner_->read(data, size) : joined_.read(data, size);
  }
  void decompress(Compression compression) { inner_ = open_decompressor(joined_, compression); }

 private:
  PrefixedSource joined_;
  std::unique_ptr<ByteSource> inner_;
};

class PlainSource : public ByteSource {
 public:
  explicit PlainSource(ByteSource& from) : from_(from) {}
  size_t read(void* data, size_t size) override { return from_.read(data, size); }

 private:
  ByteSource& from_;
};
}  // namespace

std::string_view compression_name(Compression compression) {
  switch (compression) {
    case Compression::kNone:
      return "none";
    case Compression::kGzip:
      return "gzip";
    case Compression::kBzip2:
      return "bzip2";
    case Compression::kXz:
      return "xz";
    case Compression::kZstd:
      return "zstd";
  }
  return "none";
}

Compression detect_compression(std::string_view first) {
  using namespace std::string_view_literals;
  if (first.starts_with("\x1f\x8b\x08"sv)) return Compression::kGzip;
  if (first.starts_with("BZh"sv)) return Compression::kBzip2;
  if (first.starts_with("\xfd"
                        "7zXZ\0"sv))
    return Compression::kXz;
  if (first.starts_with("\x28\xb5\x2f\xfd"sv)) return Compression::kZstd;
  // A skippable frame in front, as zstd:chunked and pzstd write it: 0x184D2A50 to 0x184D2A5F.
  if (first.size() >= 4 && (static_cast<unsigned char>(first[0]) & 0xf0) == 0x50 &&
      first.substr(1, 3) == "\x2a\x4d\x18"sv)
    return Compression::kZstd;
  return Compression::kNone;
}

std::unique_ptr<ByteSource> open_decompressor(ByteSource& from, Compression compression) {
  switch (compression) {
    case Compression::kNone:
      return std::make_unique<PlainSource>(from);
    case Compression::kGzip:
      return std::make_unique<GzipSource>(from);
    case Compression::kBzip2:
      return std::make_unique<Bzip2Source>(from);
    case Compression::kXz:
      return std::make_unique<XzSource>(from);
    case Compression::kZstd:
      return std::make_unique<ZstdSource>(from);
  }
  fail(ErrorCode::kInternal, "compression {}", static_cast<int>(compression));
}

std::unique_ptr<ByteSource> open_decompressor(ByteSource& from) {
  char head[6];
  size_t count = read_fully(from, head, sizeof head);
  Compression compression = detect_compression({head, count});
  auto source = std::make_unique<PeekedSource>(std::string(head, count), from);
  if (compression != Compression::kNone) source->decompress(compression);
  return source;
}

}  // namespace corten::archive
