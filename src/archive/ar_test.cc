#include "archive/ar.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace corten::archive {
namespace {

std::string member(std::string_view name, std::string_view content, std::string_view size = {}) {
  std::string text = fmt::format("{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n{}", name, 1700000000, 0, 0, "100644",
                                 size.empty() ? std::to_string(content.size()) : std::string(size), content);
  if (content.size() % 2) text += '\n';
  return text;
}

std::string problem(const std::string& bytes) {
  StringSource from(bytes);
  ArReader reader(from);
  try {
    while (reader.next()) {
    }
  } catch (const Error& error) {
    EXPECT_NE(error.code(), ErrorCode::kInternal);
    return error.what();
  }
  return "";
}

TEST(Ar, ReadsAPackage) {
  std::string bytes = "!<arch>\n" + member("debian-binary", "2.0\n") + member("control.tar.xz/", "odd") +
                      member("data.tar.zst", "content");
  StringSource from(bytes);
  ArReader reader(from);
  auto first = reader.next();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->name, "debian-binary");
  EXPECT_EQ(first->size, 4u);
  EXPECT_EQ(first->mtime, 1700000000);
  EXPECT_EQ(first->mode, 0100644u);
  EXPECT_EQ(read_rest(reader.data(), 100), "2.0\n");
  EXPECT_EQ(reader.next()->name, "control.tar.xz");  // its content is skipped
  EXPECT_EQ(reader.next()->name, "data.tar.zst");
  EXPECT_EQ(read_rest(reader.data(), 100), "content");
  EXPECT_FALSE(reader.next());
  EXPECT_FALSE(reader.next());
}

TEST(Ar, RefusesWhatIsNone) {
  const std::string magic = "!<arch>\n";
  EXPECT_EQ(problem(magic), "");
  EXPECT_EQ(problem(""), "ar archive: does not begin with !<arch>");
  EXPECT_EQ(problem("!<thin>\n"), "ar archive: does not begin with !<arch>");
  EXPECT_NE(problem(magic + "short"), "");
  EXPECT_NE(problem(magic + member("a", "x", "-5")), "");
  EXPECT_NE(problem(magic + member("a", "x", "1e3")), "");
  EXPECT_NE(problem(magic + member("a", "xx", "9999999999")), "");
  EXPECT_NE(problem(magic + member("//", "x")).find("long names"), std::string::npos);
  EXPECT_NE(problem(magic + member("#1/20", "x")).find("long names"), std::string::npos);
  EXPECT_NE(problem(magic + member("", "x")), "");
  std::string bad_end = member("a", "xx");
  bad_end[58] = 'x';
  EXPECT_NE(problem(magic + bad_end), "");
  for (size_t cut = 9; cut < 8 + 60 + 2; cut++)
    EXPECT_NE(problem((magic + member("a", "xx")).substr(0, cut)), "") << cut;
}

}  // namespace
}  // namespace corten::archive
