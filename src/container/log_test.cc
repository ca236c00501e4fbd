#include "container/log.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "base/strings.h"
#include "base/temp_dir.h"

namespace corten::container {

static std::string read_back(const HostPath& path, const LogOptions& options) {
  std::string text;
  read_log(path, options,
           [&](int stream, std::string_view line) { text += fmt::format("{}:{}", stream, line); });
  return text;
}

TEST(Log, LinesComeBackByStreamAndTime) {
  TempDir place = TempDir::for_test();
  HostPath path{place / "log"};
  FakeClock clock(1'000'000'000LL * 100 + 5);
  LogWriter writer(path, clock);
  writer.write(1, "one\ntw");
  clock.advance_ns(1'000'000'000);
  writer.write(2, "error\n");
  writer.write(1, "o\nrest");
  writer.finish();
  EXPECT_EQ(read_back(path, {}), "1:one\n2:error\n1:two\n1:rest");
  EXPECT_EQ(read_back(path, {.tail = 2}), "1:two\n1:rest");
  EXPECT_EQ(read_back(path, {.tail = 0}), "");
  EXPECT_EQ(read_back(path, {.tail = 100}), "1:one\n2:error\n1:two\n1:rest");
  EXPECT_EQ(read_back(path, {.since_ns = 1'000'000'000LL * 101}), "2:error\n1:two\n1:rest");
  EXPECT_EQ(read_back(path, {.tail = 4, .until_ns = 1'000'000'000LL * 100 + 5, .timestamps = true}),
            "1:1970-01-01T00:01:40.000000005Z one\n");
  EXPECT_EQ(read_file(path.value).substr(0, 65),
            R"({"log":"one\n","stream":"stdout","time":"1970-01-01T00:01:40.0000)");
}

TEST(Log, LongLinesAndForeignBytes) {
  TempDir place = TempDir::for_test();
  HostPath path{place / "log"};
  FakeClock clock(0);
  LogWriter writer(path, clock);
  std::string line(LogWriter::kMaxLineBytes - 1, 'x');
  writer.write(1, line + "\u00E9" + "tail\n");  // the letter stands across the cut
  writer.write(2, std::string("a\xFF"
                              "b\0c\n",
                              6));
  std::string text;
  read_log(path, {}, [&](int, std::string_view part) { text += part; });
  EXPECT_EQ(text, line + "\u00E9tail\n" +
                      std::string("a\xEF\xBF\xBD"
                                  "b\0c\n",
                                  8));
}

TEST(Log, FollowEndsWithTheContainer) {
  TempDir place = TempDir::for_test();
  HostPath path{place / "log"};
  FakeClock clock(0);
  LogWriter writer(path, clock);
  writer.write(1, "one\n");
  int asked = 0;
  LogOptions options{.follow = true};
  options.is_over = [&] {
    if (++asked == 2) writer.write(1, "two\n");
    return asked == 2;
  };
  EXPECT_EQ(read_back(path, options), "1:one\n1:two\n");
}

}  // namespace corten::container
