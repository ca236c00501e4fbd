// gz1: gzip (RFC 1952) whose bytes are a function of the input alone.
//
// Form. One gzip member: ten header bytes (no name, no time, OS 255), the chunks, an empty static block that
// is the last one, CRC-32 and size. Each chunk begins on a byte boundary with an empty window, holds no last
// block, and ends with an empty stored block (always, also after a stored block). So chunks can be made in
// any order, on any number of threads, kept, and put together again; several members would do the same, but
// Python's streaming tarfile reads only the first.
//
// Cost. At 512 KiB a chunk about 0.4 % of ratio against one stream; five bytes a flush.
//
// Frozen are: the cutting rule (gz1_cutter), what the matcher finds (gz1_matcher), how sub-blocks are joined
// to blocks (here), the codes (gz1_huffman) and the choice among the three forms of a block
// (gz1_block_writer). No floating point, no table that is left over from another chunk, nothing that depends
// on the machine. The golden values in gzip_encoder_test.cc guard it: whoever changes one makes a new format
// with a new name.
//
// CRCs are the libraries': a CRC has one value, however it is computed.
#include "archive/gzip_encoder.h"

#include <libdeflate.h>
#include <zlib.h>

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>

#include "archive/gz1_block_writer.h"
#include "archive/gz1_cutter.h"
#include "archive/gz1_matcher.h"
#include "base/error.h"
#include "base/thread_pool.h"

namespace corten::archive {

namespace {
constexpr size_t kMaxBlockBytes = 256 << 10;
constexpr size_t kMaxBlockSequences = 41'536;
constexpr uint64_t kJoinBonus = 800 * 256;  // about what a block's header costs, in 1/256 bits

// Sub-blocks whose symbols are alike share a block; where the content changes its nature, a new one begins.
class BlockJoiner {
 public:
  BlockJoiner(std::string_view chunk, gz1::BlockWriter& to) : chunk_(chunk), to_(to) {}

  // The next sub-block: its bytes and sequences follow those of the one before.
  void add(size_t raw_size, const std::vector<gz1::Sequence>& sequences, const gz1::SymbolCounts& counts) {
    uint64_t cost = gz1::entropy(counts);
    if (size_ != 0) {
      gz1::SymbolCounts joined = counts_;
      joined.add(counts);
      uint64_t joined_cost = gz1::entropy(joined);
      if (size_ + raw_size <= kMaxBlockBytes && sequences_.size() + sequences.size() <= kMaxBlockSequences &&
          joined_cost <= cost_ + cost + kJoinBonus) {
        sequences_.insert(sequences_.end(), sequences.begin(), sequences.end());
        size_ += raw_size;
        counts_ = joined;
        cost_ = joined_cost;
        return;
      }
      finish();
    }
    sequences_ = sequences;
    size_ = raw_size;
    counts_ = counts;
    cost_ = cost;
  }

  void finish() {
    if (size_ == 0) return;
    to_.write(chunk_.substr(start_, size_), sequences_, counts_);
    start_ += size_;
    size_ = 0;
  }

 private:
  std::string_view chunk_;
  gz1::BlockWriter& to_;
  std::vector<gz1::Sequence> sequences_;
  gz1::SymbolCounts counts_;
  uint64_t cost_ = 0;
  size_t start_ = 0, size_ = 0;
};
}  // namespace

EncodedChunk encode_chunk(std::string_view raw) {
  if (raw.size() > gz1::kMaxChunkBytes) fail(ErrorCode::kInternal, "gzip chunk of {} bytes", raw.size());
  gz1::BlockWriter writer;
  gz1::Matcher matcher(raw);
  BlockJoiner joiner(raw, writer);
  std::vector<gz1::Sequence> sequences;
  for (;;) {
    sequences.clear();
    gz1::SymbolCounts counts;
    size_t size = matcher.next(sequences, counts);
    if (size == 0) break;
    joiner.add(size, sequences, counts);
  }
  joiner.finish();
  writer.flush();
  return {
      .bytes = writer.take(), .crc32 = libdeflate_crc32(0, raw.data(), raw.size()), .raw_size = raw.size()};
}

std::string_view gzip_prologue() {
  return {"\x1f\x8b\x08\0\0\0\0\0\0\xff", 10};
}

std::string gzip_epilogue(uint32_t crc, uint64_t raw_size) {
  std::string bytes("\x03\0", 2);  // a last block, static, empty
  for (int i = 0; i < 4; i++) bytes += static_cast<char>(crc >> (8 * i));
  for (int i = 0; i < 4; i++) bytes += static_cast<char>(raw_size >> (8 * i));
  return bytes;
}

class GzipWriter::Pipeline {
 public:
  Pipeline(ByteSink& to, const GzipOptions& options)
      : cutter([this](std::string chunk) { accept(std::move(chunk)); }), to_(to), options_(options) {
    if (options_.threads > 1) pool_ = std::make_unique<ThreadPool>(options_.threads);
    put(gzip_prologue());
  }

  void end_chunk() {
    cutter.finish();
    while (!queue_.empty()) take_front();
  }

  void append(std::string_view bytes, const ChunkRecord& chunk) {
    if (!cutter.is_empty()) fail(ErrorCode::kInternal, "gzip: a known chunk in the middle of another");
    if (bytes.size() != chunk.compressed_size ||
        libdeflate_crc32(0, bytes.data(), bytes.size()) != chunk.compressed_crc32)
      fail(ErrorCode::kCorrupt, "gzip: the bytes of a known chunk have changed");
    while (!queue_.empty()) take_front();
    put_chunk(bytes, chunk);
  }

  GzipResult finish() {
    end_chunk();
    put(gzip_epilogue(result_.crc32, result_.raw_size));
    return std::move(result_);
  }

  gz1::Cutter cutter;

 private:
  // A chunk on its way through a worker.
  struct Job {
    std::string raw;
    EncodedChunk encoded;
    std::exception_ptr error;
    bool done = false;
    std::mutex mutex;
    std::condition_variable ready;

    void run() {
      try {
        encoded = encode_chunk(raw);
      } catch (...) {
        error = std::current_exception();
      }
      std::lock_guard lock(mutex);
      done = true;
      ready.notify_all();
    }
  };

  void accept(std::string chunk) {
    auto job = std::make_shared<Job>();
    job->raw = std::move(chunk);
    queue_.push_back(job);
    if (!pool_) {
      job->run();
      take_front();
      return;
    }
    pool_->submit([job] { job->run(); });
    // One chunk more than there are workers keeps all of them busy while the oldest is written.
    while (queue_.size() > options_.threads + 1) take_front();
  }

  void take_front() {
    std::shared_ptr<Job> job = queue_.front();
    queue_.pop_front();
    std::unique_lock lock(job->mutex);
    job->ready.wait(lock, [&] { return job->done; });
    if (job->error) std::rethrow_exception(job->error);
    const EncodedChunk& chunk = job->encoded;
    put_chunk(chunk.bytes, {static_cast<uint32_t>(chunk.raw_size), static_cast<uint32_t>(chunk.bytes.size()),
                            chunk.crc32, libdeflate_crc32(0, chunk.bytes.data(), chunk.bytes.size())});
  }

  void put_chunk(std::string_view bytes, const ChunkRecord& chunk) {
    put(bytes);
    result_.crc32 = static_cast<uint32_t>(
        crc32_combine(result_.crc32, chunk.raw_crc32, static_cast<z_off_t>(chunk.raw_size)));
    result_.raw_size += chunk.raw_size;
    result_.chunks.push_back(chunk);
  }

  void put(std::string_view bytes) {
    to_.write(bytes);
    result_.compressed_size += bytes.size();
  }

  ByteSink& to_;
  GzipOptions options_;
  GzipResult result_;
  std::deque<std::shared_ptr<Job>> queue_;
  std::unique_ptr<ThreadPool> pool_;
};

GzipWriter::GzipWriter(ByteSink& to, const GzipOptions& options)
    : pipeline_(std::make_unique<Pipeline>(to, options)) {}
GzipWriter::~GzipWriter() = default;

void GzipWriter::write(std::string_view bytes) {
  pipeline_->cutter.write(bytes);
}
void GzipWriter::member_begins() {
  pipeline_->cutter.member_begins();
}
void GzipWriter::data_begins(uint64_t size) {
  pipeline_->cutter.data_begins(size);
}
bool GzipWriter::is_at_cut() const {
  return pipeline_->cutter.cuts_at_member();
}
void GzipWriter::end_chunk() {
  pipeline_->end_chunk();
}
void GzipWriter::append(std::string_view bytes, const ChunkRecord& chunk) {
  pipeline_->append(bytes, chunk);
}
GzipResult GzipWriter::finish() {
  return pipeline_->finish();
}

}  // namespace corten::archive
