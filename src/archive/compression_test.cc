#include "archive/compression.h"

#include <gtest/gtest.h>

#include "archive/peer_programs_test.h"
#include "archive/zlib_writer.h"
#include "archive/zstd_writer.h"
#include "base/error.h"

namespace corten::archive {
namespace {

std::string sample(size_t size) {
  std::string text;
  uint64_t state = 1;
  while (text.size() < size) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    text += std::to_string(state >> 40) + (state & 1 ? " lines of text\n" : " and more\n");
  }
  text.resize(size);
  return text;
}

std::string expand(std::string_view bytes) {
  StringSource from(bytes);
  return read_rest(*open_decompressor(from), 64 << 20);
}

struct Peer {
  Compression compression;
  std::vector<std::string> argv;
};

class Peers : public testing::TestWithParam<Peer> {};

TEST_P(Peers, RoundTripsAndRefusesDamage) {
  CORTEN_NEEDS_PROGRAM(GetParam().argv[0]);
  std::string text = sample(300'000);
  std::string packed = output_of(GetParam().argv, text);
  EXPECT_EQ(detect_compression(packed), GetParam().compression);
  EXPECT_EQ(expand(packed), text);
  EXPECT_EQ(expand(packed + packed), text + text);  // members in a row are one stream
  EXPECT_EQ(expand(output_of(GetParam().argv, "")), "");

  StringSource from(packed);
  auto source = open_decompressor(from);
  EXPECT_EQ(read_bytewise(*source), text);

  for (size_t cut : {packed.size() - 1, packed.size() - 5, packed.size() / 2, size_t{7}}) {
    try {
      expand(packed.substr(0, cut));
      ADD_FAILURE() << "cut at " << cut << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << error.what();
    }
  }
  std::string damaged = packed;
  damaged[damaged.size() / 2] ^= 0x10;
  EXPECT_THROW(EXPECT_NE(expand(damaged), text), Error);
  EXPECT_THROW(expand(packed + "trailing bytes"), Error);
}

INSTANTIATE_TEST_SUITE_P(
    Compression, Peers,
    testing::Values(Peer{Compression::kGzip, {"gzip", "-c"}}, Peer{Compression::kBzip2, {"bzip2", "-c"}},
                    Peer{Compression::kXz, {"xz", "-c"}}, Peer{Compression::kZstd, {"zstd", "-c"}}),
    [](const auto& made) { return std::string(compression_name(made.param.compression)); });

TEST(Compression, PlainBytesPass) {
  for (const char* text : {"", "x", "plain text", "BZ", "\x1f\x8b"}) EXPECT_EQ(expand(text), text);
}

TEST(Compression, GzipToleratesZerosAfterItsEnd) {
  CORTEN_NEEDS_PROGRAM("gzip");
  std::string packed = output_of({"gzip", "-c"}, "text");
  EXPECT_EQ(expand(packed + std::string(100'000, '\0')), "text");
  EXPECT_THROW(expand(packed + std::string(100'000, '\0') + "x"), Error);
}

TEST(Compression, WindowsAreBounded) {
  CORTEN_NEEDS_PROGRAM("zstd");
  CORTEN_NEEDS_PROGRAM("xz");
  try {
    expand(output_of({"zstd", "-c", "--ultra", "--long=28", "--single-thread"}, sample(1000)));
    ADD_FAILURE() << "a window of 256 MiB was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported) << error.what();
  }
  try {
    expand(output_of({"xz", "-c", "--lzma2=preset=0,dict=512MiB"}, sample(1000)));
    ADD_FAILURE() << "a dictionary of 512 MiB was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported) << error.what();
  }
}

std::string zstd_of(std::string_view text, size_t step, int level = 3) {
  StringSink sink;
  ZstdWriter writer(sink, level);
  for (size_t at = 0; at < text.size(); at += step) writer.write(text.substr(at, step));
  writer.finish();
  return sink.take();
}

TEST(ZstdWriter, IsDeterministicAndReadable) {
  std::string text = sample(2'000'000);
  std::string packed = zstd_of(text, text.size());
  EXPECT_LT(packed.size(), text.size() / 2);
  EXPECT_EQ(packed, zstd_of(text, 1000));
  EXPECT_NE(packed, zstd_of(text, text.size(), 9));
  EXPECT_EQ(expand(packed), text);
  EXPECT_EQ(expand(zstd_of("", 1)), "");
  StringSink sink;
  EXPECT_THROW(ZstdWriter(sink, 0), Error);
  EXPECT_THROW(ZstdWriter(sink, 23), Error);
}

// The largest window that a reader must have is the 8 MiB that all readers have.
TEST(ZstdWriter, HighestLevelsStayReadable) {
  std::string text = sample(200'000), packed = zstd_of(text, text.size(), 22);
  EXPECT_TRUE(expand(packed) == text);
  // RFC 8878, 3.1.1.1.2: exponent in the upper five bits, the window descriptor is the sixth byte.
  EXPECT_LE(static_cast<unsigned char>(packed[5]) >> 3, 23 - 10);
}

TEST(ZlibWriter, LevelsAreDeterministicAndReadable) {
  std::string text = sample(2'000'000);
  auto pack = [&](int level, size_t piece) {
    StringSink sink;
    ZlibWriter writer(sink, level);
    for (size_t at = 0; at < text.size(); at += piece) writer.write(std::string_view(text).substr(at, piece));
    writer.finish();
    return sink.take();
  };
  for (int level : {0, 1, 6, 9}) {
    EXPECT_TRUE(pack(level, 1000) == pack(level, text.size())) << level;
    EXPECT_TRUE(expand(pack(level, 4096)) == text) << level;
  }
  EXPECT_GT(pack(0, text.size()).size(), text.size());
  EXPECT_LT(pack(9, text.size()).size(), pack(1, text.size()).size());
  // No name, no time, no system.
  EXPECT_EQ(pack(6, text.size()).substr(3, 5), std::string(5, '\0'));
  EXPECT_EQ(pack(6, text.size())[9], '\xff');
  StringSink sink;
  EXPECT_THROW(ZlibWriter(sink, 10), Error);
}

}  // namespace
}  // namespace corten::archive
