#include "report/terminal_text.h"

#include <gtest/gtest.h>

namespace corten::report {

TEST(ColumnsTest, CountsWhatTerminalsDraw) {
  EXPECT_EQ(columns_of("RUN make"), 8u);
  EXPECT_EQ(columns_of("Übung"), 5u);
  EXPECT_EQ(columns_of("e\xcc\x81t"), 2u) << "a combining accent takes none";
  EXPECT_EQ(columns_of("日本語"), 6u);
  EXPECT_EQ(columns_of("한글"), 4u);
  EXPECT_EQ(columns_of("🚀"), 2u);
  EXPECT_EQ(columns_of("\x1b[31mred\x1b[0m"), 3u);
  EXPECT_EQ(columns_of("a\tb"), 9u);
}

TEST(ColumnsTest, CutsBetweenCharactersAndClosesColors) {
  EXPECT_EQ(cut_to("RUN make", 5), "RUN m");
  EXPECT_EQ(cut_to("RUN make", 8, ".."), "RUN make");
  EXPECT_EQ(cut_to("RUN make x", 8, ".."), "RUN ma..");
  EXPECT_EQ(cut_to("日本語", 5), "日本") << "half a character does not fit";
  EXPECT_EQ(cut_to("\x1b[31mred", 2), "\x1b[31mre\x1b[0m");
  EXPECT_EQ(cut_to("a\tb", 20), "a       b");
  EXPECT_EQ(cut_to("abc", 0, ".."), "");
  std::string marks = "e";
  for (int i = 0; i < 1000; i++) marks += "\xcc\x81";
  EXPECT_LT(cut_to(marks, 10).size(), 20u) << "a character with a thousand accents";
}

TEST(OutputLineTest, ColorsPassWhenWanted) {
  for (const char* color :
       {"\x1b[m", "\x1b[0m", "\x1b[1;31m", "\x1b[38;5;208m", "\x1b[48;2;1;2;3;4m", "\x1b[97;107m"}) {
    EXPECT_EQ(output_line(std::string("a") + color + "b", true), std::string("a") + color + "b");
    EXPECT_EQ(output_line(std::string("a") + color + "b", false), "ab");
  }
}

TEST(OutputLineTest, OtherSequencesAreDropped) {
  for (const char* sequence :
       {"\x1b[2J", "\x1b[H", "\x1b[10A", "\x1b[?1049h", "\x1b[8m", "\x1b[5m", "\x1b[6n", "\x1b[?25l",
        "\x1b[38;5m", "\x1b[38;2;300;0;0m", "\x1b[4:3m", "\x1b[>4;2m", "\x1b[1 q", "\x1b]0;title\a",
        "\x1b]8;;http://x\x1b\\", "\x1b[31;5m"})
    EXPECT_EQ(output_line(std::string("a") + sequence + "b", true), "ab") << sequence + 1;
}

TEST(OutputLineTest, BrokenOnesAndControlsAreShown) {
  EXPECT_EQ(output_line("\x1b[31", true), "\\x1b[31");
  EXPECT_EQ(output_line("\x1b]0;never ended", true), "\\x1b]0;never ended");
  EXPECT_EQ(output_line("\x1b"
                        "c",
                        true),
            "\\x1b"
            "c");
  EXPECT_EQ(output_line("\x1b\x1b[31m", true), "\\x1b\x1b[31m");
  EXPECT_EQ(output_line("\x1bPq#0\x1b\\", true), "\\x1bPq#0\\x1b\\");
  EXPECT_EQ(output_line("a\bb\ac\x7f", true), "a\\x08b\\x07c\\x7f");
  EXPECT_EQ(output_line("\xc2\x9b"
                        "2J",
                        true),
            "\\xc2\\x9b"
            "2J")
      << "CSI as one C1 character";
  EXPECT_EQ(output_line("\x9b"
                        "2J\xff",
                        true),
            "\\x9b"
            "2J\\xff");
  EXPECT_EQ(output_line("gnp.\xe2\x80\xae"
                        "exe",
                        true),
            "gnp.\\xe2\\x80\\xae"
            "exe")
      << "right-to-left override";
}

TEST(OutputLineTest, NoInputLetsAControlByteThrough) {
  // Every pair of bytes after an escape, and before text.
  for (int a = 0; a < 256; a++)
    for (int b = 0; b < 256; b++) {
      std::string line = {'\x1b', static_cast<char>(a), static_cast<char>(b), '4', 'm'};
      std::string shown = output_line(line, true);
      for (size_t at = shown.find('\x1b'); at != std::string::npos; at = shown.find('\x1b', at + 1)) {
        size_t end = shown.find_first_not_of("0123456789;", at + 2);
        ASSERT_TRUE(shown[at + 1] == '[' && end != std::string::npos && shown[end] == 'm') << a << " " << b;
      }
      for (char c : shown)
        ASSERT_TRUE(c == '\x1b' || c == '\t' || static_cast<uint8_t>(c) >= 0x20) << a << " " << b;
    }
}

TEST(OneLineTest, NamesStayOnOneLine) {
  EXPECT_EQ(one_line("RUN <<E\n\techo\x1b[2J"), "RUN <<E  echo\\x1b[2J");
}

}  // namespace corten::report
