#include "build/why.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "build/journal.h"
#include "build/read_list.h"

namespace corten::build {
namespace {

using store::Entry;

Entry file(const std::string& path, std::string_view content, uint32_t mode = 0644) {
  Entry e;
  e.path = RootfsPath(path);
  e.mode = mode;
  e.size = content.size();
  e.content = Digest::of(content);
  return e;
}

ReadList list_of(const std::vector<Entry>& entries) {
  Selection selection;
  for (const Entry& e : entries)
    selection.items.push_back({.entry = &e, .name = {}, .base = {}, .below = {}});
  auto list = parse_list(serialize_list(selection));
  EXPECT_TRUE(list);
  return list.value_or(ReadList{});
}

std::vector<std::string> texts(const std::vector<Difference>& differences) {
  std::vector<std::string> found;
  for (const Difference& d : differences) found.push_back(difference_text(d));
  return found;
}

std::vector<std::string> compare(std::string_view before, std::string_view after) {
  size_t more = 0;
  CompareLists no_lists = [](const Digest&, const Digest&, std::string_view, size_t&) {
    return std::nullopt;
  };
  return texts(compare_records(Json::parse(before), Json::parse(after), no_lists, more));
}

using Texts = std::vector<std::string>;

TEST(Why, TheFileAndItsFieldAreNamed) {
  ReadList before = list_of({file("a", "1"), file("b", "12"), file("c", "x"), file("gone", "")});
  Entry owned = file("c", "x");
  owned.uid = 7;
  ReadList after = list_of({file("a", "2"), file("b", "12", 0755), owned, file("new", "")});
  size_t more = 0;
  EXPECT_EQ(texts(compare_lists(before, after, "context", 10, more)),
            (Texts{"context file a: content was 6b86b273ff34 (1B), is d4735e3a265e (1B)",
                   "context file b: mode was 0644, is 0755", "context file c: owner was 0:0, is 7:0",
                   "context file gone was removed", "context file new was added"}));
  EXPECT_EQ(more, 0u);
  EXPECT_EQ(compare_lists(before, after, "context", 2, more).size(), 2u);
  EXPECT_EQ(more, 3u);
  more = 0;
  EXPECT_TRUE(compare_lists(before, before, "context", 2, more).empty());
}

TEST(Why, ADamagedListIsNone) {
  Selection selection;
  Entry e = file("a", "1");
  selection.items.push_back({.entry = &e, .name = {}, .base = {}, .below = {}});
  std::string bytes = serialize_list(selection);
  ASSERT_TRUE(parse_list(bytes));
  for (size_t i = 0; i < bytes.size(); i++) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    EXPECT_FALSE(parse_list(damaged)) << i;
    EXPECT_FALSE(parse_list(bytes.substr(0, i))) << i;
  }
}

TEST(Why, ACommandIsShownWhereItDiffers) {
  EXPECT_EQ(compare(R"({"step":"run","command":["/bin/sh","-c","make"]})",
                    R"({"step":"run","command":["/bin/sh","-c","make all"]})"),
            Texts{R"(command was "make", is "make all")"});
  std::string same(400, 'x');
  std::string text = compare(R"({"command":["/bin/sh","-c",")" + same + R"(1"]})",
                             R"({"command":["/bin/sh","-c",")" + same + R"(2"]})")
                         .at(0);
  EXPECT_LT(text.size(), 200u);
  EXPECT_TRUE(text.find("x1\", is") != std::string::npos) << text;
}

TEST(Why, VariablesAreNamedAndSecretsNotShown) {
  EXPECT_EQ(
      compare(R"({"environment":["A=1","B=2","OLD=","API_KEY=hunter1","URL=https://u:p@host/x"]})",
              R"({"environment":["A=1","B=3","NEW=n","API_KEY=hunter2","URL=https://u:q@host/x"]})"),
      (Texts{"variable API_KEY: value changed", R"(variable B was "2", is "3")",
             R"(variable NEW was added: "n")", "variable URL: value changed", "variable OLD was removed"}));
}

TEST(Why, ASecretLikeValueIsKeptAsADigest) {
  Json record =
      Json::parse(R"({"step":"run","environment":["A=1","API_KEY=hunter","EMPTY_TOKEN=","U=ftp://a:b@c"]})");
  EXPECT_EQ(without_secrets(record, [](std::string_view) { return "digest"; }).dump(),
            R"({"step":"run","environment":["A=1","API_KEY=digest","EMPTY_TOKEN=","U=digest"]})");
}

TEST(Why, TheBaseOrTheStepBelow) {
  EXPECT_EQ(
      compare(
          R"({"below":"1","newest_below":1,"beside":{"base":{"image":"debian:12","digest":"sha256:aaaaaaaaaaaaaaaa"}}})",
          R"({"below":"2","newest_below":2,"beside":{"base":{"image":"debian:12","digest":"sha256:bbbbbbbbbbbbbbbb"}}})"),
      Texts{"base image debian:12 was sha256:aaaaaaaaaaaa, is sha256:bbbbbbbbbbbb"});
  EXPECT_EQ(compare(R"({"below":"1","beside":{"base":{"step":"[2/3] RUN a","key":"1"}}})",
                    R"({"below":"2","beside":{"base":{"step":"[2/3] RUN a","key":"2"}}})"),
            Texts{"step below [2/3] RUN a: result changed"});
}

TEST(Why, MountsFlagsAndHeredocs) {
  EXPECT_EQ(
      compare(R"({"mounts":[{"type":"cache","target":"/c","cache":"x"},{"type":"tmpfs","target":"/t"}]})",
              R"({"mounts":[{"type":"cache","target":"/c","cache":"y"},{"type":"tmpfs","target":"/u"}]})"),
      (Texts{"mount /c: cache was x, is y", "mount /u was added", "mount /t was removed"}));
  EXPECT_EQ(compare(R"({"network":"none"})", R"({"network":"default"})"),
            Texts{R"(--network was "none", is "default")"});
  EXPECT_EQ(compare(R"({"owner":"1:1"})", R"({})"), Texts{R"(--chown was removed: "1:1")"});
  EXPECT_EQ(compare(R"({"files":[{"name":"EOF","content":"aaaaaaaaaaaaaaaa"}]})",
                    R"({"files":[{"name":"EOF","content":"bbbbbbbbbbbbbbbb"}]})"),
            Texts{"heredoc EOF: content was aaaaaaaaaaaa, is bbbbbbbbbbbb"});
}

TEST(Why, ASecretIsToldAfterTheReason) {
  EXPECT_EQ(compare(R"({"user":"a","beside":{"secrets":{"token":"11"}}})",
                    R"({"user":"b","beside":{"secrets":{"token":"22"}}})"),
            (Texts{R"(user was "a", is "b")", "secret token: content (not in the key) changed"}));
}

TEST(Why, OneLineForAMiss) {
  Miss miss;
  EXPECT_EQ(miss_text(miss, 0), "");
  miss.reason = Miss::Reason::kInput;
  miss.differences = {{"--network", "", "", "\"none\"", "\"default\""}, {"user", "", "", "a", "b"}};
  miss.more = 2;
  miss.when_ns = 1'000'000'000;
  EXPECT_EQ(miss_text(miss, 301'000'000'000),
            R"(not cached: --network was "none", is "default", and 3 more (last run 5 minutes ago))");
  EXPECT_EQ(miss_text(miss, 0).find("ago") != std::string::npos, true);  // a clock that was set back
}

TEST(Why, AJournalIsReadAsItWasWritten) {
  TempDir place = TempDir::for_test();
  JournalStep step{.id = 3, .name = "[linux/arm64 build 2/5] RUN make", .line = 7, .state = "failed"};
  step.key = Digest::of("x").hex();
  step.record = Json::parse(R"({"step":"run"})");
  step.miss = Miss{.reason = Miss::Reason::kInput,
                   .differences = {{"variable", "A", "", "1", "2"}},
                   .more = 4,
                   .build = "b",
                   .step = "s",
                   .when_ns = 5};
  step.error = "exit code: 1";
  step.peak_bytes = 9;
  {
    Journal journal(place / "steps");
    journal.add(step);
    journal.add({.id = 4, .name = "[internal] image x"});
  }
  UniqueFd torn = open_file(place / "steps", O_WRONLY | O_APPEND);
  write_fully(torn.get(), "{\"step\":5,\"na", "steps");
  std::vector<JournalStep> read = read_journal(place / "steps");
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0].to_json(), step.to_json());
  EXPECT_EQ(read[0].place().stage, "linux/arm64 build");
  EXPECT_EQ(read[0].place().number, 2);
  EXPECT_EQ(read[0].place().text, "RUN make");
  EXPECT_EQ(read[1].place().text, "[internal] image x");
  EXPECT_TRUE(read_journal(place / "none").empty());
}

}  // namespace
}  // namespace corten::build
