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
    "gz1";  // a part of every key under which chunks are remembered

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

// Remembers chunks by the digest of their raw bytes, across processes. Called from several threads at once.
// What find() gives is trusted: the memory must have checked that its bytes are those that were remembered.
class ChunkMemory {
 public:
  virtual ~ChunkMemory() = default;
  virtual std::optional<EncodedChunk> find(const Digest& raw) = 0;
  virtual void remember(const Digest& raw, const EncodedChunk& chunk) = 0;
};

// Where each chunk of a stream went; a blob can be made again from it and the chunks.
struct ChunkRecord {
  Digest raw;  // zeros when no ChunkMemory was given
  uint32_t crc32 = 0;
  uint64_t raw_size = 0;
  uint64_t compressed_size = 0;
};

struct GzipOptions {
  unsigned threads = 1;  // workers; 1 compresses in the caller's thread. Never changes the output
  ChunkMemory* memory = nullptr;
};

struct GzipResult {
  uint64_t raw_size = 0;
  uint64_t compressed_size = 0;  // the whole member
  uint32_t crc32 = 0;
  std::vector<ChunkRecord> chunks;
};

// Compresses a tar stream (or any bytes, when no hints come) to one gzip member. Memory: about 3 MiB a
// thread. write() and the hints come from one thread; the sink is written from that thread alone, in order.
// After an Error of the sink or the memory the writer may only be destroyed.
class GzipWriter : public ByteSink, public TarHints {
 public:
  explicit GzipWriter(ByteSink& to, const GzipOptions& options = {});
  ~GzipWriter() override;

  void write(std::string_view bytes) override;
  void member_begins() override;
  void data_begins(uint64_t size) override;
  GzipResult finish();

 private:
  class Pipeline;
  std::unique_ptr<Pipeline> pipeline_;
};

}  // namespace corten::archive
