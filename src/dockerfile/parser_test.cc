#include "dockerfile/parser.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "base/strings.h"
#include "dockerfile/heredoc.h"
#include "dockerfile/instructions.h"

namespace corten::dockerfile {
namespace {

std::string read_data(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  return (std::ostringstream() << in.rdbuf()).str();
}

std::filesystem::path data_directory() {
  return "tests/conformance/dockerfile/parser";
}

TEST(ParseLines, GivesBuildKitsTrees) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(data_directory() / "testfiles")) {
    SCOPED_TRACE(entry.path().filename());
    std::string dump;
    for (const Node& node : parse_lines(read_data(entry.path() / "Dockerfile"), "Dockerfile").nodes)
      dump += "(" + node.dump() + ")\n";
    EXPECT_EQ(std::string(trim(dump)), std::string(trim(read_data(entry.path() / "result"))));
    count++;
  }
  EXPECT_EQ(count, 33);
}

TEST(ParseLines, RefusesWhatBuildKitRefuses) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(data_directory() / "testfiles-negative")) {
    EXPECT_THROW(parse_lines(read_data(entry.path() / "Dockerfile"), "Dockerfile"), Error) << entry.path();
    count++;
  }
  EXPECT_EQ(count, 4);
}

TEST(ParseLines, KnowsTheLines) {
  std::vector<std::pair<int, int>> lines;
  for (const Node& node :
       parse_lines(read_data(data_directory() / "testfile-line/Dockerfile"), "Dockerfile").nodes)
    lines.emplace_back(node.span.line, node.span.end_line);
  EXPECT_EQ(lines, (std::vector<std::pair<int, int>>{{5, 5}, {11, 12}, {17, 31}}));
}

std::string error_of(std::string_view text) {
  try {
    parse_lines(text, "Dockerfile");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(ParseLines, Errors) {
  EXPECT_EQ(error_of(""), "the Dockerfile cannot be empty");
  EXPECT_EQ(error_of("\n \n"), "file with no instructions");
  EXPECT_EQ(error_of("# escape=x\nFROM a\n"), "invalid escape token 'x' does not match ` or \\");
  EXPECT_EQ(error_of("# syntax=a\n#syntax=b\nFROM a\n"), "only one syntax parser directive can be used");
  EXPECT_EQ(error_of("FROM a\nRUN <<EOF\nfoo\n"), "unterminated heredoc");
  EXPECT_EQ(error_of("FROM a\nENV b\n"), "ENV must have two arguments");
  EXPECT_EQ(error_of("FROM a\nENV b=1 c\n"),
            "Syntax error - can't find = in \"c\". Must be of the form: name=value");
  EXPECT_EQ(error_of("FROM a\nRUN [\"a\", 1]\n"),
            "when using JSON array syntax, arrays must be comprised of strings only");
  EXPECT_EQ(error_of("FROM a\nRUN " + std::string(65532, 'x')),
            "dockerfile line greater than max allowed size of 65535");
  EXPECT_EQ(error_of("FROM a\nRUN " + std::string(65531, 'x')), "no error");
}

TEST(ParseLines, ErrorsOfAFileWithNothingInItHaveAPlace) {
  for (std::string_view text : {"", "\xEF\xBB\xBF", "\n"}) {
    try {
      parse_lines(text, "Dockerfile");
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.span()->line, 1);
    }
  }
}

TEST(ParseLines, Directives) {
  auto parse = [](std::string_view text) { return parse_lines(text, "Dockerfile").directives; };
  Directives all = parse("# syntax = docker/dockerfile:1 \n#escape=`\n# CHECK=skip=all;error=true\nFROM a\n");
  EXPECT_EQ(all.syntax->text, "docker/dockerfile:1");
  EXPECT_EQ(all.syntax->span.column, 12);
  EXPECT_EQ(all.escape, '`');
  EXPECT_EQ(all.check->text, "skip=all;error=true");
  EXPECT_EQ(parse("# foo=bar\n# escape=`\nFROM a\n").escape, '\\');
  EXPECT_EQ(parse("\n# escape=`\nFROM a\n").escape, '\\');
  EXPECT_EQ(parse("#!/usr/bin/x\n# escape=`\nFROM a\n").escape, '\\');
  EXPECT_EQ(parse("# escape=\nFROM a\n").escape, '\\');
  EXPECT_EQ(parse("\xEF\xBB\xBF# escape=`\nFROM a\n").escape, '`');
}

const Node& node_at(const ParsedLines& lines, size_t index) {
  return lines.nodes.at(index);
}

TEST(ParseLines, JoinsLinesAndKeepsPlaces) {
  ParsedLines lines = parse_lines(
      "FROM a\r\nRUN one \\\r\n# gone\n\n  two\\ \n three\n  COPY --link=\"x y\" a \\\n b c\\\\\nENV x=\\\n",
      "D");
  ASSERT_EQ(lines.nodes.size(), 4u);
  EXPECT_EQ(node_at(lines, 1).args[0].text, "one   two three");
  EXPECT_EQ(node_at(lines, 1).span.line, 2);
  EXPECT_EQ(node_at(lines, 1).span.end_line, 6);
  ASSERT_EQ(lines.warnings.size(), 1u);
  EXPECT_EQ(lines.warnings[0].rule, "NoEmptyContinuation");
  EXPECT_EQ(lines.warnings[0].span.line, 6);
  EXPECT_EQ(lines.warnings[0].word.line, 4);
  const Node& copy = node_at(lines, 2);
  EXPECT_EQ(copy.span.column, 3);
  EXPECT_EQ(copy.flags[0].text, "--link=x y");
  EXPECT_EQ(copy.flags[0].span.line, 7);
  EXPECT_EQ(copy.flags[0].span.column, 8);
  EXPECT_EQ(copy.args[1].text, "b");
  EXPECT_EQ(copy.args[1].span.line, 8);
  EXPECT_EQ(copy.args[1].span.column, 2);
  EXPECT_EQ(copy.args[1].span.end_column, 3);
  EXPECT_EQ(copy.args[2].text, "c\\\\");
}

TEST(ParseLines, CommentsAboveAnInstruction) {
  ParsedLines lines = parse_lines("# lost\n#\n# one\n# two\nFROM a\nRUN b\n", "D");
  EXPECT_EQ(node_at(lines, 0).comments, (std::vector<std::string>{"one", "two"}));
  EXPECT_TRUE(node_at(lines, 1).comments.empty());
}

TEST(ParseLines, JsonWordsHavePlaces) {
  ParsedLines lines = parse_lines("FROM a\nCMD [\"x\\\"y\", \"z\"]\n", "D");
  const Node& cmd = node_at(lines, 1);
  EXPECT_TRUE(cmd.is_json);
  EXPECT_EQ(cmd.args[0].text, "x\"y");
  EXPECT_EQ(cmd.args[1].span.column, 14);
  EXPECT_EQ(cmd.args[1].span.end_column, 17);
}

struct Expected {
  std::string name, content;
  bool expand = true, chomp = false;
  unsigned descriptor = 0;
};

TEST(Heredocs, AreRead) {
  auto check = [](const std::string& text, std::vector<Expected> expected) {
    SCOPED_TRACE(text);
    ParsedLines lines = parse_lines("FROM a\n" + text, "D");
    const auto& heredocs = node_at(lines, 1).heredocs;
    ASSERT_EQ(heredocs.size(), expected.size());
    for (size_t i = 0; i < expected.size(); i++) {
      EXPECT_EQ(heredocs[i].name, expected[i].name);
      EXPECT_EQ(heredocs[i].content, expected[i].content);
      EXPECT_EQ(heredocs[i].expand, expected[i].expand);
      EXPECT_EQ(heredocs[i].chomp, expected[i].chomp);
      EXPECT_EQ(heredocs[i].descriptor, expected[i].descriptor);
    }
  };
  check("RUN <<EMPTY\nEMPTY\n", {{"EMPTY", ""}});
  check("RUN 3<<E\nE", {{"E", "", true, false, 3}});
  check("RUN \"<<NO\"\n", {});
  check("RUN [\"<<NO\"]\n", {});
  check("USER <<NO\n", {});
  check("RUN <<-E\n\tbaz\n\tE\n", {{"E", "\tbaz\n", true, true}});
  check("RUN <<-'E'\n\t$NAME\nE\n", {{"E", "\t$NAME\n", false, true}});
  check("RUN <<E\n# not a comment\n\nE\n", {{"E", "# not a comment\n\n"}});
  check("COPY <<X <<Y /dest\nY\nX\nX\nY\n", {{"X", "Y\n"}, {"Y", "X\n"}});
  check("RUN <<eo'f'\nfoo\neof\n", {{"eof", "foo\n", false}});
  check("RUN <<eo\\'f\nfoo\neo'f\n", {{"eo'f", "foo\n"}});
  check("RUN <<'one two'\nbar\none two\n", {{"one two", "bar\n", false}});
  check("RUN <<$EOF\n$EOF\n", {{"$EOF", ""}});
  check("RUN <<  EOF  > foo\nEOF\n", {{"EOF", ""}});
  check("RUN <<- EOF\nEOF\n", {{"EOF", "", true, true}});
  check("RUN << -EOF\n-EOF\n", {{"-EOF", ""}});
  check("ONBUILD COPY <<E /x\nhi\nE\n", {{"E", "hi\n"}});
  check("RUN cat <<E don't\n", {});
}

TEST(Heredocs, MarksAreChecked) {
  for (const char* word : {"", "EOF", "<<", "<<-", "<EOF", "<<<EOF", "<<EOF sh"})
    EXPECT_FALSE(parse_heredoc_mark(word)) << word;
  for (const char* word : {"<<EOF", "<<'EOF'", "<<-\"EOF\"", "<<EO\"F\"", "<< EOF"})
    EXPECT_EQ(parse_heredoc_mark(word)->name, "EOF") << word;
  for (const char* word : {"<<'EOF", "<<EOF\""}) EXPECT_THROW(parse_heredoc_mark(word), Error) << word;
}

}  // namespace
}  // namespace corten::dockerfile
