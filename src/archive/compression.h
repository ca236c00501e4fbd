// Compressed streams of others: which it is, and its bytes. Writing lives in gzip_encoder.h and
// zstd_writer.h.
#pragma once
#include <memory>
#include <string_view>

#include "archive/source.h"

namespace corten::archive {

enum class Compression { kNone, kGzip, kBzip2, kXz, kZstd };

// "gzip"; "none" for kNone.
std::string_view compression_name(Compression compression);

// By the magic number, of which at most the first 6 bytes count.
Compression detect_compression(std::string_view first_bytes);

// The expanded bytes of `from`, which must outlive it. Several gzip members, bzip2 or xz streams or zstd
// frames in a row are one stream; zero bytes after the last gzip member are padding. Memory is bounded: a
// zstd window above 128 MiB or an xz stream that wants more than 256 MiB is Error(kUnsupported). Wrong or
// truncated input is Error(kCorrupt). The expanded size is not bounded: put a LimitedSource around it.
std::unique_ptr<ByteSource> open_decompressor(ByteSource& from, Compression compression);
// Looks at the first bytes itself; plain bytes pass through.
std::unique_ptr<ByteSource> open_decompressor(ByteSource& from);

}  // namespace corten::archive
