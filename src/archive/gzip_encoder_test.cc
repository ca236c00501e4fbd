#include "archive/gzip_encoder.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <mutex>

#include "archive/compression.h"
#include "archive/gz1_format.h"
#include "archive/peer_programs_test.h"
#include "archive/random_bytes_test.h"
#include "base/error.h"

namespace corten::archive {
namespace {

std::string whole(const EncodedChunk& chunk) {
  return std::string(gzip_prologue()) + chunk.bytes + gzip_epilogue(chunk.crc32, chunk.raw_size);
}

std::string expand(std::string_view gzip) {
  StringSource from(gzip);
  return read_rest(*open_decompressor(from, Compression::kGzip), 64 << 20);
}

std::string compress(std::string_view bytes, const GzipOptions& options = {}, GzipResult* result = nullptr) {
  StringSink sink;
  GzipWriter writer(sink, options);
  for (size_t at = 0; at < bytes.size(); at += 100'000) writer.write(bytes.substr(at, 100'000));
  GzipResult told = writer.finish();
  if (result) *result = told;
  return sink.take();
}

struct Golden {
  const char* name;
  std::string (*make)();
  const char* hex;  // of the encoded chunk: its first 16 digits
};

const Golden kGolden[] = {
    {"empty", [] { return std::string(); }, "eb6ab504da0b4384"},
    {"one byte", [] { return std::string("x"); }, "659196dec7bbfd1f"},
    {"15", [] { return text_bytes(15); }, "6bd815f247a0552b"},
    {"16", [] { return text_bytes(16); }, "51cee935b9fd7d0e"},
    {"17", [] { return text_bytes(17); }, "9d3eb7a0310e7c58"},
    {"64K-1", [] { return text_bytes(65535); }, "3efb80b663147510"},
    {"64K", [] { return text_bytes(65536); }, "3970151cc31897e3"},
    {"64K+1", [] { return text_bytes(65537); }, "68eb5a9d88684330"},
    {"zeros", [] { return std::string(300'000, '\0'); }, "eb092a70534638b7"},
    {"random", [] { return random_bytes(200'000); }, "0592a88094ee897f"},
    {"period 1", [] { return periodic_bytes(1000, 1); }, "941ac55d6a1ce917"},
    {"period 7", [] { return periodic_bytes(100'000, 7); }, "a74751d9a1cf4a7c"},
    {"period 32767", [] { return periodic_bytes(200'000, 32767); }, "90cdeb8efb0f5772"},
    {"period 32768", [] { return periodic_bytes(200'000, 32768); }, "cf196e5105bd2ce6"},
    {"period 32769", [] { return periodic_bytes(200'000, 32769); }, "947c7fa1f2201b64"},
    {"period 65536", [] { return periodic_bytes(300'000, 65536); }, "da79378e1fd0af46"},
    {"text", [] { return text_bytes(600'000, 3); }, "6bd286dbdcca03ad"},
    {"mixed", [] { return mixed_bytes(700'000, 4); }, "8f085f28616f8dd5"},
    {"full", [] { return mixed_bytes(gz1::kMaxChunkBytes, 5); }, "0b44c7838e74ed1b"},
};

TEST(GzipEncoder, IsFrozen) {
  for (const Golden& golden : kGolden) {
    std::string raw = golden.make();
    EncodedChunk chunk = encode_chunk(raw);
    EXPECT_TRUE(expand(whole(chunk)) == raw) << golden.name;
    EXPECT_EQ(Digest::of(chunk.bytes).hex().substr(0, 16), golden.hex) << golden.name;
  }
  EXPECT_EQ(Digest::of(compress(mixed_bytes(3'000'000, 6))).hex().substr(0, 16), "11b4320eb7cc35c9");
}

TEST(GzipEncoder, ChunkForm) {
  EXPECT_EQ(encode_chunk("").bytes, std::string("\0\0\0\xff\xff", 5));
  EXPECT_EQ(compress(""), std::string("\x1f\x8b\x08\0\0\0\0\0\0\xff\x03\0\0\0\0\0\0\0\0\0", 20));
  std::string raw = mixed_bytes(300'000);
  EncodedChunk chunk = encode_chunk(raw);
  EXPECT_EQ(chunk.raw_size, raw.size());
  EXPECT_EQ(chunk.crc32, crc32(0, reinterpret_cast<const Bytef*>(raw.data()), static_cast<uInt>(raw.size())));
  EXPECT_EQ(chunk.bytes.substr(chunk.bytes.size() - 4), std::string("\0\0\xff\xff", 4));
  EXPECT_THROW(encode_chunk(std::string(gz1::kMaxChunkBytes + 1, 'x')), Error);
}

TEST(GzipEncoder, CompressesAsWellAsZlibsFastLevel) {
  for (const std::string& raw : {text_bytes(500'000), mixed_bytes(800'000), std::string(500'000, 'x')}) {
    uLongf size = compressBound(raw.size());
    std::string peer(size, '\0');
    ASSERT_EQ(compress2(reinterpret_cast<Bytef*>(peer.data()), &size,
                        reinterpret_cast<const Bytef*>(raw.data()), raw.size(), 1),
              Z_OK);
    EXPECT_LT(encode_chunk(raw).bytes.size(), size * 102 / 100 + 100);
  }
  EXPECT_LT(encode_chunk(random_bytes(1'000'000)).bytes.size(), 1'000'000u + 200);
}

TEST(GzipEncoder, RoundTripsAnything) {
  Random random(11);
  for (int round = 0; round < 250; round++) {
    size_t size = random.below(round % 10 == 0 ? 200'000 : 3000);
    std::string raw;
    switch (random.below(5)) {
      case 0:
        raw = random_bytes(size, random.next());
        break;
      case 1:
        raw = text_bytes(size, random.next());
        break;
      case 2:
        raw = periodic_bytes(size, 1 + random.below(70'000));
        break;
      case 3:
        raw = mixed_bytes(size, random.next());
        break;
      default:  // few symbols, in skewed numbers: deep codes
        for (size_t i = 0; i < size; i++)
          raw += static_cast<char>(std::countr_zero(random.next() | (1ull << 40)));
    }
    EncodedChunk chunk = encode_chunk(raw);
    ASSERT_TRUE(expand(whole(chunk)) == raw) << "round " << round;
    ASSERT_LE(chunk.bytes.size(), raw.size() + 64);
  }
}

TEST(GzipWriter, ThreadsDoNotChangeTheOutput) {
  std::string raw = mixed_bytes(4'000'000, 8);
  GzipResult result;
  std::string expected = compress(raw, {}, &result);
  EXPECT_TRUE(expand(expected) == raw);
  EXPECT_EQ(result.raw_size, raw.size());
  EXPECT_EQ(result.compressed_size, expected.size());
  EXPECT_GT(result.chunks.size(), 3u);
  for (unsigned threads : {2u, 3u, 16u})
    EXPECT_TRUE(compress(raw, {.threads = threads}) == expected) << threads;
}

// A blob can be made again from its chunks; one that was damaged is noticed.
TEST(GzipWriter, TakesKnownChunks) {
  std::string raw = text_bytes(3'000'000, 12);
  GzipResult result;
  std::string first = compress(raw, {.threads = 2}, &result);
  auto make_again = [&](const std::string& blob) {
    StringSink sink;
    GzipWriter writer(sink);
    size_t at = gzip_prologue().size();
    for (const ChunkRecord& chunk : result.chunks) {
      writer.append(std::string_view(blob).substr(at, chunk.compressed_size), chunk);
      at += chunk.compressed_size;
    }
    EXPECT_EQ(writer.finish().chunks, result.chunks);
    return sink.take();
  };
  EXPECT_TRUE(make_again(first) == first);
  first[first.size() / 2] ^= 1;
  EXPECT_THROW(make_again(first), Error);
}

class FullSink : public ByteSink {
 public:
  void write(std::string_view bytes) override {
    total_ += bytes.size();
    if (total_ > 100'000) fail(ErrorCode::kNoSpace, "full");
  }

 private:
  size_t total_ = 0;
};

TEST(GzipWriter, ErrorsReachTheCaller) {
  std::string raw = random_bytes(3'000'000);
  for (unsigned threads : {1u, 3u}) {
    FullSink sink;
    EXPECT_THROW(
        {
          GzipWriter writer(sink, {.threads = threads});
          writer.write(raw);
          writer.finish();
        },
        Error);
  }
}

TEST(GzipWriter, PythonAndGzipReadATar) {
  CORTEN_NEEDS_PROGRAM("python3");
  CORTEN_NEEDS_PROGRAM("gzip");
  StringSink sink;
  GzipWriter gzip(sink, {.threads = 2});
  HashingSink tar(&gzip);
  TarWriter writer(tar, &gzip);
  for (int i = 0; i < 40; i++) {
    std::string content =
        text_bytes(static_cast<size_t>(i == 20 ? 600'000 : i * 1000), static_cast<uint64_t>(i));
    writer.add({.path = "dir/file" + std::to_string(i),
                .mode = 0644,
                .size = content.size(),
                .mtime_ns = i % 2 ? 5u : 0u},
               content);
  }
  writer.finish();
  GzipResult result = gzip.finish();
  EXPECT_GT(result.chunks.size(), 2u);
  Digest diff_id = tar.digest();
  EXPECT_EQ(Digest::of(output_of({"gzip", "-dc"}, sink.bytes())), diff_id);
  EXPECT_EQ(output_of({"python3", "-c", R"(
import sys, tarfile
print(sum(len(t.extractfile(m).read()) for t in [tarfile.open(fileobj=sys.stdin.buffer, mode='r|gz')] for m in t))
)"},
                      sink.bytes()),
            std::to_string(600'000 + (39 * 40 / 2 - 20) * 1000) + "\n");
}

}  // namespace
}  // namespace corten::archive
