// Our gzip: canonical, parallel, in remembered chunks. The format is frozen under the name gz1; a change of
// any output byte is a new name. gzip_encoder.cc tells the form, gz1_*.cc its parts.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "archive/source.h"
#include "archive/tar.h"

namespace corten::archive {

inline constexpr std::string_view kGzipFormatName =
    "gz1";  // a part of every key under which blobs are remembered

// A run of raw bytes, compressed to whole deflate blocks that end on a byte boundary and refer to nothing
// before them.
struct EncodedChunk {
  std::string bytes;
  uint32_t crc32 = 0;  // of the raw bytes
  uint64_t raw_size = 0;
  bool operator==(const EncodedChunk&) const = default;
};

// At most 1 MiB, Error(kInternal) otherwise. Pure: the same bytes give the same result on every machine.
// Thread-safe.
EncodedChunk encode_chunk(std::string_view raw);

// The frame around chunks: one gzip member = gzip_prologue() + chunks + gzip_epilogue().
std::string_view gzip_prologue();
std::string gzip_epilogue(uint32_t crc32, uint64_t raw_size);

// A chunk as it lies in a blob: enough to put it into another one unread.
struct ChunkRecord {
  uint32_t raw_size = 0, compressed_size = 0;  // bytes
  uint32_t raw_crc32 = 0, compressed_crc32 = 0;
  bool operator==(const ChunkRecord&) const = default;
};

struct GzipOptions {
  unsigned threads = 1;  // workers; 1 compresses in the caller's thread. Never changes the output
};

struct GzipResult {
  uint64_t raw_size = 0;
  uint64_t compressed_size = 0;  // the whole member
  uint32_t crc32 = 0;
  std::vector<ChunkRecord> chunks;
};

// Compresses a tar stream (or any bytes, when no hints come) to one gzip member. Memory: about 3 MiB a
// thread. write() and the hints come from one thread; the sink is written from that thread alone, in order.
// After an Error of the sink the writer may only be destroyed.
//
// Parts of an earlier stream can be put in as they are (image/layer_reuse.cc): a chunk depends on nothing
// before it, and where a stream is cut from a member's start on depends on nothing before that start. So what
// goes in with append() must be chunks of this format that begin, and are followed by, a member's start.
class GzipWriter : public ByteSink, public TarHints {
 public:
  explicit GzipWriter(ByteSink& to, const GzipOptions& options = {});
  ~GzipWriter() override;

  void write(std::string_view bytes) override;
  void member_begins() override;
  void data_begins(uint64_t size) override;
  // Whether a member that began now would begin a chunk.
  bool is_at_cut() const;
  // Ends the chunk before the next bytes; only where is_at_cut() says so.
  void end_chunk();
  // A chunk that is known. Only at the start, after end_chunk(), or after another one. Error(kCorrupt) when
  // the bytes are not those that the record tells of.
  void append(std::string_view bytes, const ChunkRecord& chunk);
  GzipResult finish();

 private:
  class Pipeline;
  std::unique_ptr<Pipeline> pipeline_;
};

}  // namespace corten::archive
