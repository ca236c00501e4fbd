#include "archive/source.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::archive {
namespace {

ErrorCode code_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorCode::kInternal;
}

TEST(Source, BoundsAndPrefixes) {
  StringSource all("0123456789");
  BoundedSource first(all, 4);
  EXPECT_EQ(read_rest(first, 100), "0123");
  EXPECT_EQ(first.remaining(), 0u);
  PrefixedSource joined("ab", all);
  EXPECT_EQ(read_rest(joined, 100), "ab456789");
}

TEST(Source, RestIsBounded) {
  StringSource exact("12345");
  EXPECT_EQ(read_rest(exact, 5), "12345");
  StringSource longer("123456");
  EXPECT_EQ(code_of([&] { read_rest(longer, 5); }), ErrorCode::kInvalid);
}

TEST(Source, LimitStopsABomb) {
  StringSource bytes("123456");
  LimitedSource limited(bytes, 5, "layer");
  EXPECT_EQ(code_of([&] { drain(limited); }), ErrorCode::kCorrupt);
}

TEST(Source, HashingCountsBothWays) {
  StringSource from("hello");
  HashingSource source(from);
  StringSink end;
  HashingSink sink(&end);
  EXPECT_EQ(copy_all(source, sink), 5u);
  EXPECT_EQ(source.size(), 5u);
  EXPECT_EQ(sink.size(), 5u);
  EXPECT_EQ(source.digest(), Digest::of("hello"));
  EXPECT_EQ(sink.digest(), Digest::of("hello"));
  EXPECT_EQ(end.bytes(), "hello");
}

TEST(Source, VerifyingAcceptsTheRightBytesOnly) {
  auto verify = [](std::string_view bytes, std::string_view expected) {
    StringSource from(bytes);
    VerifyingSource source(from, Digest::of(expected), expected.size(), "blob");
    return read_rest(source, 100);
  };
  EXPECT_EQ(verify("abc", "abc"), "abc");
  EXPECT_EQ(verify("", ""), "");
  EXPECT_EQ(code_of([&] { verify("abd", "abc"); }), ErrorCode::kCorrupt);
  EXPECT_EQ(code_of([&] { verify("ab", "abc"); }), ErrorCode::kCorrupt);
  EXPECT_EQ(code_of([&] { verify("abcd", "abc"); }), ErrorCode::kCorrupt);
  EXPECT_EQ(code_of([&] { verify("a", ""); }), ErrorCode::kCorrupt);
}

TEST(Source, DescriptorsFlow) {
  Pipe pipe = make_pipe();
  FdSink(pipe.write.get(), "pipe").write("through a pipe");
  pipe.write.reset();
  FdSource source(pipe.read.get(), "pipe");
  EXPECT_EQ(read_rest(source, 100), "through a pipe");
  FdSource closed(-1, "nothing");
  EXPECT_EQ(code_of([&] { drain(closed); }), ErrorCode::kIo);
}

}  // namespace
}  // namespace corten::archive
