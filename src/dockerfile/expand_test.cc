#include "dockerfile/expand.h"

#include <fstream>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/strings.h"
#include "dockerfile/runes.h"

namespace corten::dockerfile {
namespace {

std::vector<std::string> lines_of(const std::string& path) {
  std::ifstream in("tests/conformance/dockerfile/" + path);
  EXPECT_TRUE(in) << path;
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

const MapEnvironment::Values kHome = {
    {"PWD", "/home"}, {"SHELL", "bash"}, {"KOREAN", "한국어"}, {"NULL", ""}};

// The table's right side has lost its trailing blanks, and "error" stands for any failure.
std::string outcome_of(const std::string& word, bool is_windows) {
  try {
    return process_word(word, MapEnvironment(kHome, is_windows));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalid);
    return "error";
  }
}

TEST(Expand, PassesBuildKitsTable) {
  int cases = 0;
  for (const std::string& line : lines_of("shell/envVarTest")) {
    if (trim(line).empty() || line[0] == '#') continue;
    std::vector<std::string> parts = split(line, '|');
    ASSERT_EQ(parts.size(), 3u) << line;
    std::string platforms(trim(parts[0])), word(trim(parts[1])), expected(trim(parts[2]));
    cases++;
    for (bool is_windows : {false, true}) {
      bool applies = platforms == "A" || platforms == (is_windows ? "W" : "U");
      EXPECT_TRUE(!applies || outcome_of(word, is_windows) == expected)
          << line << " gave " << outcome_of(word, is_windows);
    }
  }
  EXPECT_EQ(cases, 230);
}

TEST(Expand, SplitsWordsAsBuildKitsTable) {
  MapEnvironment environment;
  int cases = 0;
  for (const std::string& line : lines_of("shell/wordsTest")) {
    if (line.empty() || line[0] == '#') continue;
    if (line.substr(0, 4) == "ENV ") {
      size_t equals = line.find('=');
      environment.set(line.substr(4, equals - 4), line.substr(equals + 1));
      continue;
    }
    size_t bar = line.find('|');
    std::string word(trim(line.substr(0, bar)));
    std::string expected = line.substr(bar + 1);
    while (!expected.empty() && expected[0] == ' ') expected.erase(0, 1);
    cases++;
    std::string actual;
    try {
      actual = join(process_words(word, environment), ",");
    } catch (const Error&) {
      actual = "error";
    }
    EXPECT_EQ(actual, expected) << line;
  }
  EXPECT_EQ(cases, 24);
}

struct Case {
  const char* word;
  const char* expected;  // a text, or the error's
};

std::string expand_or_error(std::string_view word) {
  MapEnvironment environment(MapEnvironment::Values{{"v", "abcabc"},
                                                    {"path", "a/b/c.tar.gz"},
                                                    {"empty", ""},
                                                    {"star", "a*c"},
                                                    {"two", "x y"},
                                                    {"money", "$1"},
                                                    {"han", "가나다"}});
  try {
    return process_word(word, environment);
  } catch (const Error& error) {
    return error.message();
  }
}

TEST(Expand, Modifiers) {
  for (const Case& c : std::initializer_list<Case>{{"${v#a}", "bcabc"},
                                                   {"${v#*c}", "abc"},
                                                   {"${v##*c}", ""},
                                                   {"${v%c}", "abcab"},
                                                   {"${v%b*}", "abca"},
                                                   {"${v%%b*}", "a"},
                                                   {"${v#x}", "abcabc"},
                                                   {"${v#?}", "bcabc"},
                                                   {"${v%??}", "abca"},
                                                   {"${path##*/}", "c.tar.gz"},
                                                   {"${path%%.*}", "a/b/c"},
                                                   {"${path%.*}", "a/b/c.tar"},
                                                   {"${v/b/X}", "aXcabc"},
                                                   {"${v//b/X}", "aXcaXc"},
                                                   {"${v/b*/X}", "aX"},
                                                   {"${v//?c/X}", "aXaX"},
                                                   {"${path//\\//-}", "a-b-c.tar.gz"},
                                                   {"${v//b/}", "acac"},
                                                   {"${star#a\\*}", "c"},
                                                   {"${v#a\\*}", "abcabc"},
                                                   {"${v/b/$1}", "acabc"},
                                                   {"${v/b/$money}", "a$1cabc"},
                                                   {"${han#?}", "나다"},
                                                   {"${v#[ab]}", "abcabc"},
                                                   {"${v//*/X}", "X"},
                                                   {"${empty/*/X}", "X"},
                                                   {"${v//x*/-}", "abcabc"},
                                                   {"${none-d}", "d"},
                                                   {"${empty-d}", ""},
                                                   {"${empty:-d}", "d"},
                                                   {"${none+d}", ""},
                                                   {"${empty+d}", "d"},
                                                   {"${empty:+d}", ""},
                                                   {"${v:-${none:?x}}", "none: x"},
                                                   {"${v+${v%%b*}}", "a"}}) {
    EXPECT_EQ(expand_or_error(c.word), c.expected) << c.word;
  }
}

TEST(Expand, ErrorTexts) {
  for (const Case& c : std::initializer_list<Case>{
           {"'a", "unexpected end of statement while looking for matching single-quote"},
           {"\"a", "unexpected end of statement while looking for matching double-quote"},
           {"${}", "syntax error: bad substitution"},
           {"${:x}", "syntax error: bad substitution"},
           {"${{x}", "syntax error: bad substitution"},
           {"${", "syntax error: missing '}'"},
           {"${v:-x", "syntax error: missing '}'"},
           {"${v/p}", "syntax error: missing '/' in ${}"},
           {"${v/p/r", "syntax error: missing '}'"},
           {"${v:=w}", "unsupported modifier (:=) in substitution"},
           {"${v:#p}", "unsupported modifier (:#) in substitution"},
           {"${v^}", "unsupported modifier (^) in substitution"},
           {"${none?}", "none: is not allowed to be unset"},
           {"${none:?}", "none: is not allowed to be unset"},
           {"${empty:?}", "empty: is not allowed to be empty"},
           {"${none?say $v}", "none: say abcabc"},
           {"${v#\\a}", "invalid pattern (\\a) in substitution: invalid escape '\\a'"}}) {
    EXPECT_EQ(expand_or_error(c.word), c.expected) << c.word;
  }
  try {
    process_word("a${}", MapEnvironment());
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "failed to process \"a${}\": syntax error: bad substitution");
  }
}

TEST(Expand, RecordsNames) {
  MapEnvironment environment(MapEnvironment::Values{{"a", "1"}});
  Expansion result = expand("$a ${b:-x} ${c:+$d} $a", environment);
  EXPECT_EQ(result.text, "1 x  1");
  EXPECT_EQ(result.matched, std::set<std::string>({"a"}));
  EXPECT_EQ(result.unmatched, std::set<std::string>({"b", "c", "d"}));
}

TEST(Expand, EscapeCharacterCanBeChanged) {
  MapEnvironment environment(MapEnvironment::Values{{"a", "1"}});
  EXPECT_EQ(process_word("C:\\`$a\\$a", environment, {.escape = '`'}), "C:\\$a\\1");
}

TEST(Expand, HeredocBodiesKeepTheirQuotes) {
  MapEnvironment environment(MapEnvironment::Values{{"name", "world"}});
  EXPECT_EQ(expand_heredoc("Hello '${name}'! \"$name\" \\$name\n", environment),
            "Hello 'world'! \"world\" $name\n");
}

TEST(Expand, NestingIsBounded) {
  std::string deep;
  for (int i = 0; i < 100000; i++) deep += "${x:-";
  EXPECT_THROW(process_word(deep, MapEnvironment()), Error);
}

TEST(Expand, PatternsAreBounded) {
  MapEnvironment environment(MapEnvironment::Values{{"v", std::string(100000, 'a')}});
  std::string pattern;
  for (int i = 0; i < 1000; i++) pattern += "*a";
  EXPECT_THROW(process_word("${v//" + pattern + "b/x}", environment), Error);
}

TEST(Runes, BrokenUtf8IsTakenByteByByte) {
  EXPECT_EQ(rune_at("\xE2\x82\xAC", 0).code, 0x20ACu);
  EXPECT_EQ(rune_at("\xE2\x82", 0).length, 1);
  EXPECT_EQ(rune_at("\xC0\x80", 0).length, 1);
  EXPECT_EQ(process_word("\xFF$a\xFE", MapEnvironment(MapEnvironment::Values{{"a", "1"}})),
            "\xFF"
            "1\xFE");
}

}  // namespace
}  // namespace corten::dockerfile
